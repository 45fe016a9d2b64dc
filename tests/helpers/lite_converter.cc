// MindSpore Lite's converter to an Ascend as a program: FORMAT MODEL OUTPUT [CONFIG]. With -DCANN: a part of the
// library in CANN's place, which prints the operators and inputs that it is given, and returns 16 zeros as the compiled
// model.
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#ifdef CANN
namespace {
std::map<const void *, std::string> &Types() {
  static std::map<const void *, std::string> types;
  return types;
}
}  // namespace

// declared as CANN declares them, so that the compiler gives them the names that the converter looks for
namespace ge {
class Operator {
 public:
  Operator(const char *name, const char *type);
  Operator(const std::string &name, const std::string &type);
  Operator &SetInput(const char *name, const Operator &source);
  Operator &SetInput(const std::string &name, const Operator &source);
  int GetDynamicOutputNum(const char *name) const;
  int GetDynamicOutputNum(const std::string &name) const;

 private:
  void *members_[3] = {};
};

Operator::Operator(const char *name, const char *type) {
  Types()[this] = type;
  fprintf(stderr, "operator %s\n", type);
}

Operator::Operator(const std::string &name, const std::string &type) : Operator(name.c_str(), type.c_str()) {}

Operator &Operator::SetInput(const char *name, const Operator &source) {
  fprintf(stderr, "input %s %s\n", Types()[this].c_str(), name);
  return *this;
}

Operator &Operator::SetInput(const std::string &name, const Operator &source) { return SetInput(name.c_str(), source); }

int Operator::GetDynamicOutputNum(const char *name) const { return 64; }  // as many as are asked for

int Operator::GetDynamicOutputNum(const std::string &name) const { return 64; }

class Graph;

struct ModelBufferData {
  std::shared_ptr<uint8_t> data;
  uint64_t length;
};

uint32_t aclgrphBuildModel(const Graph &graph, const std::map<std::string, std::string> &options,
                           ModelBufferData &model) {
  for (const auto &option : options) {
    fprintf(stderr, "option %s %s\n", option.first.c_str(), option.second.c_str());
  }
  model.data.reset(new uint8_t[16](), std::default_delete<uint8_t[]>());
  model.length = 16;
  return 0;
}
}  // namespace ge

#else
#include <unistd.h>

#include "include/api/status.h"
#include "include/api/types.h"

namespace mindspore {
namespace converter {
enum FmkType : int { kFmkTypeOnnx = 2, kFmkTypeMs = 3 };
}
struct ConverterPara;

class Converter {  // of include/converter.h, which the Python package leaves out
 public:
  Converter(converter::FmkType format, const std::vector<char> &model, const std::vector<char> &output,
            const std::vector<char> &weights);
  void SetDevice(const std::vector<char> &device);
  void SetSaveType(ModelType type);
  void SetNoFusion(bool no_fusion);
  void SetConfigFile(const std::vector<char> &path);
  Status Convert();

 private:
  std::shared_ptr<ConverterPara> data_;
};
}  // namespace mindspore

int main(int count, char **words) {
  const auto text = [](const std::string &word) { return std::vector<char>(word.begin(), word.end()); };
  const auto format =
      words[1] == std::string("ONNX") ? mindspore::converter::kFmkTypeOnnx : mindspore::converter::kFmkTypeMs;
  mindspore::Converter converter(format, text(words[2]), text(words[3]), {});
  converter.SetDevice(text("Ascend"));  // what --optimize=ascend_oriented sets
  converter.SetSaveType(mindspore::kMindIR);
  converter.SetNoFusion(false);
  if (count > 4) {
    converter.SetConfigFile(text(words[4]));
  }
  const bool converted = converter.Convert() == mindspore::kSuccess;
  fflush(nullptr);
  _exit(converted ? 0 : 1);  // without the destructors of libraries whose other half is missing
}
#endif
