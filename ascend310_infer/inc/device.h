// The device that a graph runs on.
#ifndef ASCEND310_INFER_INC_DEVICE_H_
#define ASCEND310_INFER_INC_DEVICE_H_

#include <string>

struct DeviceOptions {
  std::string target = "Ascend";  // or CPU
  int id = 0;
  std::string precision = "preferred_fp32";  // on an Ascend: a name of AscendDeviceInfo::SetPrecisionMode
  int threads = 2;                           // on a CPU
};

// UserError for a name that is none of theirs.
void CheckDevice(const DeviceOptions &device);

#endif  // ASCEND310_INFER_INC_DEVICE_H_
