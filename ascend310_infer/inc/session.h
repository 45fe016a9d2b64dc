// A graph on a device, through the C++ API that MindSpore Lite and MindSpore share.
#ifndef ASCEND310_INFER_INC_SESSION_H_
#define ASCEND310_INFER_INC_SESSION_H_

#include <string>
#include <vector>

#include "device.h"
#include "include/api/model.h"
#include "interface.h"
#include "items.h"

class Session {
 public:
  // Loads the configuration and the graph, and compiles it. UserError where the device, the configuration or the graph
  // cannot be used or is not as described.
  Session(const std::string &mindir_path, const DeviceOptions &device, const Interface &interface);

  // The bytes of every output, in the graph's order. Resizes the graph where the shapes are others than before.
  std::vector<std::string> Predict(const std::vector<HostTensor> &inputs);

 private:
  void Resize(const std::vector<HostTensor> &inputs);

  mindspore::Model model_;
  std::string remedy_;                        // where the graph is not compiled for a length
  std::vector<std::vector<int64_t>> shapes_;  // of the inputs last run
  std::vector<std::vector<char>> memory_;     // of the inputs
  std::vector<mindspore::MSTensor> tensors_;  // that refer to it
};

#endif  // ASCEND310_INFER_INC_SESSION_H_
