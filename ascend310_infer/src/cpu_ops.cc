#include "cpu_ops.h"

#include <dlfcn.h>

#include <filesystem>
#include <string>

#include "error.h"

namespace {
// Of the libraries that CMakeLists.txt makes, the one whose instructions this processor has: the folder may have been
// built on another machine.
std::string Level() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return "avx512";
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "sse2";
}
}  // namespace

void LoadCpuOps(int threads) {
  const std::string remedy = "; build the runner again with build.sh, the program and its libraries stay together";
  const auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / ("libcpu_ops_" + Level() + ".so");
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // for good: the runtime keeps pointers into it
  if (library == nullptr) {
    throw UserError(std::string(dlerror()) + remedy);
  }
  const auto function = reinterpret_cast<const char *(*)(int)>(dlsym(library, "RegisterCpuOps"));
  const char *refused = function == nullptr ? "RegisterCpuOps" : function(threads);
  if (refused != nullptr) {
    throw UserError(path.string() + ": MindSpore Lite does not take " + refused + remedy);
  }
}
