#include "cpu_ops.h"

#include <dlfcn.h>
#include <link.h>

#include <filesystem>
#include <mutex>
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

// The folder of the program or library that this code is in.
std::filesystem::path OwnFolder() {
  Dl_info info{};
  link_map *module = nullptr;
  const int known =
      dladdr1(reinterpret_cast<const void *>(&LoadCpuOps), &info, reinterpret_cast<void **>(&module), RTLD_DL_LINKMAP);
  const bool is_library = known != 0 && module != nullptr && module->l_name[0] != '\0';
  const std::filesystem::path path = is_library ? module->l_name : "/proc/self/exe";
  return std::filesystem::canonical(path).parent_path();
}

void Load(int threads) {
  const std::string remedy = "; build the runner again with build.sh, the program and its libraries stay together";
  const auto path = OwnFolder() / ("libcpu_ops_" + Level() + ".so");
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
}  // namespace

void LoadCpuOps(int threads) {
  static std::once_flag loaded;  // the runtime takes each name once
  std::call_once(loaded, Load, threads);
}
