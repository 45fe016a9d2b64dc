#include "session.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "cpu_memory.h"
#include "cpu_ops.h"
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

// Graphs for MindSpore Lite 2.0.0 on a CPU hold weights in the order that only it reads, those for an Ascend operators
// that a CPU has no kernel for.
void CheckRuntime(const std::string &mindir_path, const DeviceOptions &device, const Interface &interface) {
#ifdef HAS_LITE_2_0_0
  const bool known = device.target == "CPU";
#else
  const bool known = false;
#endif
  if (interface.runtime == "lite2.0-cpu" && !known) {
    throw UserError(mindir_path +
                    ": exported for MindSpore Lite 2.0.0 on a CPU, where this is not; export it with --runtime " +
                    (device.target == "CPU" ? "lite2.0" : "ascend, or lite2.0-ascend for MindSpore Lite 2.0"));
  }
  if ((interface.runtime == "ascend" || interface.runtime == "lite2.0-ascend") && device.target == "CPU") {
    throw UserError(mindir_path + ": exported for an Ascend, not for a CPU; export it with --runtime lite2.0");
  }
}

std::shared_ptr<mindspore::Context> MakeContext(const DeviceOptions &device, const Interface &interface) {
  auto context = std::make_shared<mindspore::Context>();
  if (device.target == "CPU") {
    context->SetThreadNum(device.threads);
    context->SetInterOpParallelNum(std::min(device.threads, static_cast<int>(interface.branches)));
    auto cpu = std::make_shared<mindspore::CPUDeviceInfo>();
    cpu->SetAllocator(std::make_shared<CpuMemory>());
    context->MutableDeviceInfo().push_back(cpu);
  } else {
    auto ascend = std::make_shared<mindspore::AscendDeviceInfo>();
    ascend->SetDeviceID(static_cast<uint32_t>(device.id));
    ascend->SetPrecisionMode(device.precision);  // else Lite takes enforce_fp16
    context->MutableDeviceInfo().push_back(ascend);
  }
  return context;
}

mindspore::DataType TypeOf(const Port &port) {
  return port.dtype == "int32" ? mindspore::DataType::kNumberTypeInt32 : mindspore::DataType::kNumberTypeFloat32;
}
}  // namespace

Session::Session(const std::string &mindir_path, const DeviceOptions &device, const Interface &interface) {
  CheckRuntime(mindir_path, device, interface);
#ifdef HAS_LITE_2_0_0
  if (interface.custom) {
    LoadCpuOps(device.threads);
  }
#endif
  if (!interface.config.empty() && model_.LoadConfig(interface.config.string()) != mindspore::kSuccess) {
    throw UserError(interface.config.string() +
                    ": cannot be loaded; export.py writes it beside the graph, keep the two "
                    "together");
  }
  const bool gears = device.target != "CPU" && !interface.gears.empty();
  remedy_ = gears ? "compile it for its gears, with converter_lite --configFile=" + interface.config.string()
                  : "export it for this length";
  const mindspore::Status status = model_.Build(mindir_path, mindspore::kMindIR, MakeContext(device, interface));
  if (status != mindspore::kSuccess) {
    throw UserError(mindir_path + ": cannot be built for " + device.target +
                    (device.target == "CPU"
                         ? "; it is cut or damaged, or for another runtime: export it again, see export.py --runtime"
                         : " " + std::to_string(device.id) + "; without an Ascend use --device_target CPU" +
                               (gears ? ", on one " + remedy_ : "")));
  }
  const std::vector<mindspore::MSTensor> own = model_.GetInputs();
  bool fits = own.size() == interface.inputs.size();
  for (size_t i = 0; fits && i < own.size(); ++i) {
    fits =
        own[i].DataType() == TypeOf(interface.inputs[i]) && own[i].Shape().size() == interface.inputs[i].shape.size();
  }
  if (!fits) {
    throw UserError(mindir_path + ": takes other inputs than the inputs.json beside it says; export it again");
  }
  memory_.resize(own.size());
}

std::vector<std::string> Session::Predict(const std::vector<HostTensor> &inputs) {
  Resize(inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::memcpy(memory_[i].data(), inputs[i].bytes.data(), inputs[i].bytes.size());
  }
  std::vector<mindspore::MSTensor> outputs;
  if (model_.Predict(tensors_, &outputs) != mindspore::kSuccess) {
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
  for (const auto &input : inputs) {
    shapes.push_back(input.shape);
  }
  if (shapes == shapes_) {
    return;
  }
  const std::vector<mindspore::MSTensor> own = model_.GetInputs();
  bool same = true;
  for (size_t i = 0; i < own.size(); ++i) {
    same = same && own[i].Shape() == shapes[i];
  }
  if (!same && model_.Resize(own, shapes) != mindspore::kSuccess) {
    shapes_.clear();
    throw UserError("the graph cannot be resized to " + ToText(shapes[0]) + "; " + remedy_);
  }
  // The memory of GetInputs() is no place for the data: MindSpore Lite 2.0 frees it in Resize and hands it out still.
  // Ours stays where it is until the next Resize: an operator that works in place keeps its address.
  shapes_.clear();  // until all of it is there
  tensors_.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    memory_[i].resize(inputs[i].bytes.size());
    memory_[i].shrink_to_fit();
    mindspore::MSTensor *tensor = mindspore::MSTensor::CreateRefTensor(own[i].Name(), own[i].DataType(), shapes[i],
                                                                       memory_[i].data(), memory_[i].size(), false);
    if (tensor == nullptr) {
      throw UserError("no memory for " + own[i].Name());
    }
    tensors_.push_back(*tensor);
    mindspore::MSTensor::DestroyTensorPtr(tensor);
  }
  shapes_ = shapes;
}
