#include "device.h"

#include <vector>

#include "error.h"

namespace {
void CheckName(const std::string &flag, const std::string &name, const std::vector<std::string> &known) {
  std::string list;
  for (const std::string &other : known) {
    if (name == other) {
      return;
    }
    list += (list.empty() ? "" : other == known.back() ? " or " : ", ") + other;
  }
  throw UserError("--" + flag + ": found '" + name + "', expected " + list);
}
}  // namespace

void CheckDevice(const DeviceOptions &device) {
  CheckName("device_target", device.target, {"Ascend", "CPU"});
  CheckName("precision", device.precision,
            {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin", "preferred_optimal"});
}
