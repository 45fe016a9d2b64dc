#include "session.h"

#include <cstring>
#include <memory>

#include "error.h"
#include "include/api/context.h"
#include "include/api/data_type.h"
#include "include/api/types.h"

namespace {
std::string ToText(const std::vector<int64_t> &shape) {
  std::string text;
  for (const int64_t size : shape) {
    text += (text.empty() ? "" : " x ") + std::to_string(size);
  }
  return text;
}

std::shared_ptr<mindspore::Context> MakeContext(const Options &options) {
  auto context = std::make_shared<mindspore::Context>();
  if (options.device_target == "CPU") {
    context->SetThreadNum(options.threads);
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  } else {
    auto device = std::make_shared<mindspore::AscendDeviceInfo>();
    device->SetDeviceID(static_cast<uint32_t>(options.device_id));
    context->MutableDeviceInfo().push_back(device);
  }
  return context;
}

mindspore::DataType TypeOf(const Port &port) {
  return port.dtype == "int32" ? mindspore::DataType::kNumberTypeInt32 : mindspore::DataType::kNumberTypeFloat32;
}
}  // namespace

Session::Session(const Options &options, const Interface &interface) {
  const mindspore::Status status = model_.Build(options.mindir_path, mindspore::kMindIR, MakeContext(options));
  if (status != mindspore::kSuccess) {
    throw UserError(options.mindir_path + ": cannot be built for " + options.device_target +
                    (options.device_target == "CPU"
                         ? "; export it for this runtime, see export.py --runtime"
                         : " " + std::to_string(options.device_id) + "; without an Ascend use --device_target CPU"));
  }
  inputs_ = model_.GetInputs();
  bool fits = inputs_.size() == interface.inputs.size();
  for (size_t i = 0; fits && i < inputs_.size(); ++i) {
    fits = inputs_[i].DataType() == TypeOf(interface.inputs[i]) &&
           inputs_[i].Shape().size() == interface.inputs[i].shape.size();
  }
  if (!fits) {
    throw UserError(options.mindir_path + ": takes other inputs than the inputs.json beside it says; export it anew");
  }
}

std::vector<std::string> Session::Predict(const std::vector<HostTensor> &inputs) {
  Resize(inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs_[i].DataSize() != inputs[i].bytes.size()) {
      throw UserError(std::to_string(inputs[i].bytes.size()) + " bytes, but the graph takes " +
                      std::to_string(inputs_[i].DataSize()) + " for " + inputs_[i].Name());
    }
    std::memcpy(inputs_[i].MutableData(), inputs[i].bytes.data(), inputs[i].bytes.size());
  }
  std::vector<mindspore::MSTensor> outputs;
  if (model_.Predict(inputs_, &outputs) != mindspore::kSuccess) {
    throw UserError("the graph fails on input of shape " + ToText(inputs[0].shape));
  }
  std::vector<std::string> results;
  for (const auto &output : outputs) {
    results.emplace_back(static_cast<const char *>(output.Data().get()), output.DataSize());
  }
  return results;
}

void Session::Resize(const std::vector<HostTensor> &inputs) {
  std::vector<std::vector<int64_t>> shapes;
  bool same = true;
  for (size_t i = 0; i < inputs.size(); ++i) {
    shapes.push_back(inputs[i].shape);
    same = same && inputs[i].shape == inputs_[i].Shape();
  }
  if (same) {
    return;
  }
  if (model_.Resize(inputs_, shapes) != mindspore::kSuccess) {
    throw UserError("the graph cannot be resized to " + ToText(shapes[0]) + "; export it for this length");
  }
  inputs_ = model_.GetInputs();
}
