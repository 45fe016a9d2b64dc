// Which Ascend MindSpore believes to compile for: in a simulation it asks no device.
#include <memory>
#include <string>

namespace mindspore {
class MsContext {  // of libmindspore_core.so; only what is called is declared
 public:
  static std::shared_ptr<MsContext> GetInstance();
  std::string ascend_soc_version() const;
  void set_ascend_soc_version(const std::string &version);
  void set_ascend_soc_name(const std::string &name);
};
}  // namespace mindspore

// version: ascend910 or ascend910b, what kernels are chosen by; name: Ascend910B2, the chip's own.
extern "C" void set_chip(const char *version, const char *name) {
  auto context = mindspore::MsContext::GetInstance();
  context->ascend_soc_version();  // the first call asks the plugin, and would undo what is set before it
  context->set_ascend_soc_version(version);
  context->set_ascend_soc_name(name);
}
