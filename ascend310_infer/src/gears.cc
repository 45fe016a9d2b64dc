#include "gears.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "error.h"

namespace {
constexpr int64_t kElementBytes = 4;

int64_t NextGear(int64_t length, const Interface &interface) {
  const auto gear = std::lower_bound(interface.gears.begin(), interface.gears.end(), length);
  if (gear == interface.gears.end()) {
    throw UserError(std::to_string(length) + " long, but the graph takes " + std::to_string(interface.gears.back()) +
                    " at most, its last gear; export it with a longer one, or leave the file out");
  }
  return *gear;
}

// The first `kept` of `rows` rows, each of `size` bytes, of every one of the blocks that `content` is.
std::string FirstRows(const std::string &content, size_t rows, size_t kept, size_t size) {
  std::string result;
  for (size_t start = 0; start < content.size(); start += rows * size) {
    result.append(content, start, kept * size);
  }
  return result;
}

}  // namespace

std::vector<HostTensor> PadToGear(std::vector<HostTensor> tensors, const Interface &interface) {
  if (interface.gears.empty()) {
    return tensors;
  }
  HostTensor &first = tensors[0];
  const int64_t gear = NextGear(first.shape[1], interface);
  const auto length = static_cast<int32_t>(first.shape[1]);
  first.bytes.resize(first.bytes.size() / static_cast<size_t>(length) * static_cast<size_t>(gear));
  first.shape[1] = gear;
  tensors.push_back({{1}, std::string(reinterpret_cast<const char *>(&length), sizeof(length))});
  return tensors;
}

std::string CutOutput(const std::string &content, const Port &port, int64_t length, int64_t padded) {
  auto axis = std::find(port.shape.begin(), port.shape.end(), kAnySize);
  if (axis == port.shape.end() && port.step > 0) {  // a fixed length
    axis = std::find(port.shape.begin(), port.shape.end(), (padded + port.add) / port.step);
  }
  if (axis == port.shape.end()) {
    return content;
  }
  if (port.step < 1) {
    throw UserError("inputs.json does not give the length of " + port.name + "; export the graph again");
  }
  const int64_t rows = (padded + port.add) / port.step;
  const int64_t kept = (length + port.add) / port.step;
  const int64_t size = std::accumulate(axis + 1, port.shape.end(), kElementBytes, std::multiplies<>());
  const auto bytes = static_cast<int64_t>(content.size());
  if (kept < 1 || kept > rows || size < 1 || bytes % (rows * size) != 0) {
    throw UserError("the graph gives " + std::to_string(bytes) + " bytes for " + port.name +
                    ", expected multiples of " + std::to_string(rows) + " x " + std::to_string(size) +
                    "; export the graph again");
  }
  return FirstRows(content, static_cast<size_t>(rows), static_cast<size_t>(kept), static_cast<size_t>(size));
}

std::vector<std::string> CutToLength(std::vector<std::string> outputs, int64_t length, const Interface &interface) {
  if (interface.gears.empty()) {
    return outputs;
  }
  if (outputs.size() != interface.outputs.size()) {
    throw UserError("the graph gives " + std::to_string(outputs.size()) + " outputs, inputs.json lists " +
                    std::to_string(interface.outputs.size()) + "; export the graph again");
  }
  const int64_t gear = NextGear(length, interface);
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i] = CutOutput(outputs[i], interface.outputs[i], length, gear);
  }
  return outputs;
}
