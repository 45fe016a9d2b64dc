#include "graph.h"

#include <algorithm>
#include <cstring>

#include "error.h"
#include "gears.h"
#include "items.h"

namespace {
std::vector<float> ToFloats(const std::string &bytes, const Port &port) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (port.dtype == "float32") {
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    int32_t value = 0;
    std::memcpy(&value, bytes.data() + i * sizeof(value), sizeof(value));
    values[i] = static_cast<float>(value);
  }
  return values;
}
}  // namespace

WaveformGraph::WaveformGraph(Session *session, const Interface &interface) : session_(session), interface_(interface) {}

int64_t WaveformGraph::Longest() const {
  const int64_t fixed = interface_.inputs[0].shape[1];
  return !interface_.gears.empty() ? interface_.gears.back() : fixed == kAnySize ? 0 : fixed;
}

bool WaveformGraph::TakesFewer() const { return interface_.inputs[0].shape[1] == kAnySize; }

std::vector<std::vector<float>> WaveformGraph::Run(const std::vector<float> &samples) {
  const auto length = static_cast<int64_t>(samples.size());
  const int64_t longest = Longest();
  if (length < std::max<int64_t>(interface_.shortest, 1) || (longest > 0 && length > longest)) {
    throw UserError(std::to_string(length) + " samples, but the graph takes " + std::to_string(interface_.shortest) +
                    " and more" + (longest > 0 ? ", up to " + std::to_string(longest) : ""));
  }
  const int64_t multiple = interface_.wav_multiple;
  int64_t padded = TakesFewer() ? (length + multiple - 1) / multiple * multiple : longest;
  HostTensor waveform{{1, padded},
                      std::string(reinterpret_cast<const char *>(samples.data()), samples.size() * sizeof(float))};
  waveform.bytes.resize(static_cast<size_t>(padded) * sizeof(float));
  const std::vector<HostTensor> inputs = PadToGear({std::move(waveform)}, interface_);
  padded = inputs[0].shape[1];
  const std::vector<std::string> outputs = session_->Predict(inputs);
  if (outputs.size() != interface_.outputs.size()) {
    throw UserError("the graph gives " + std::to_string(outputs.size()) + " outputs, inputs.json lists " +
                    std::to_string(interface_.outputs.size()) + "; export it again");
  }
  std::vector<std::vector<float>> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Port &port = interface_.outputs[i];
    results.push_back(ToFloats(CutOutput(outputs[i], port, length, padded), port));
    RequireNumbers(results.back(), interface_.answer);
  }
  return results;
}
