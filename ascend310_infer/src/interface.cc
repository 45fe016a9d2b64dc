#include "interface.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "error.h"

namespace {
constexpr int64_t kElementBytes = 4;
constexpr int64_t kFormat = 1;  // of inputs.json, as MIGRATIONS in utils/export/runner.py; one without it is like 1

Port ReadPort(const nlohmann::json &json) {
  Port port{json.at("name"), json.at("dtype"), {}};
  for (const auto &size : json.at("shape")) {
    port.shape.push_back(size.is_null() ? kAnySize : size.get<int64_t>());
  }
  if (port.dtype != "float32" && port.dtype != "int32") {
    throw UserError(port.name + " is " + port.dtype + ", expected float32 or int32");
  }
  if (std::count(port.shape.begin(), port.shape.end(), kAnySize) > 1) {
    throw UserError(port.name + " has several dimensions of any size, expected one at most");
  }
  if (json.contains("length")) {
    port.add = json.at("length").at(0);
    port.step = json.at("length").at(1);
  }
  return port;
}

std::vector<int64_t> ReadGears(const nlohmann::json &json, const std::vector<Port> &inputs) {
  std::vector<int64_t> gears = json.at("gears");
  const bool padded =
      inputs.size() > 1 && inputs[0].shape.size() > 1 && inputs[0].shape[0] == 1 && inputs[0].shape[1] == kAnySize;
  if (!padded || gears.empty() || gears[0] < 1 || gears.back() > std::numeric_limits<int32_t>::max() ||
      !std::is_sorted(gears.begin(), gears.end())) {
    throw UserError("its gears are no rising lengths of the second dimension of the first input");
  }
  const Port &last = inputs.back();
  if (last.name != json.at("length_input") || last.dtype != "int32" || last.shape != std::vector<int64_t>{1}) {
    throw UserError("its last input is no length_input of one int32");
  }
  return gears;
}

// The description of the graph at `path` in what inputs.json holds: that of the last export, and others' by their file.
// A graph that was renamed or converted is the one that is described, where there is only one.
nlohmann::json Description(nlohmann::json json, const std::filesystem::path &path) {
  const nlohmann::json others = json.value("others", nlohmann::json::object());
  const std::string last = json.value("file", "");
  for (const auto &name : {path.filename(), std::filesystem::canonical(path).filename()}) {
    if (name == last || others.contains(name.string())) {
      return name == last ? json : others[name.string()];
    }
  }
  if (!others.empty()) {
    throw UserError("describes several graphs, none named " + path.filename().string() +
                    ", as a converted one must be in a folder of its own");
  }
  return json;
}
}  // namespace

std::vector<int64_t> Port::ShapeOf(size_t bytes) const {
  int64_t known = kElementBytes;
  for (const int64_t size : shape) {
    known *= size == kAnySize ? 1 : size;
  }
  std::vector<int64_t> result = shape;
  const auto any = std::find(result.begin(), result.end(), kAnySize);
  const auto total = static_cast<int64_t>(bytes);
  if (total == 0 || (any == result.end() ? total != known : total % known != 0)) {
    throw UserError(std::to_string(bytes) + " bytes, but the graph takes " +
                    (any == result.end() ? "" : "multiples of ") + std::to_string(known) + " for " + name);
  }
  if (any != result.end()) {
    *any = total / known;
  }
  return result;
}

Interface ReadInterface(const std::filesystem::path &mindir_path) {
  if (!std::filesystem::is_regular_file(mindir_path)) {
    throw UserError(mindir_path.string() + ": no such file; export.py writes one from a checkpoint");
  }
  std::filesystem::path path = mindir_path.parent_path() / "inputs.json";
  if (!std::filesystem::exists(path)) {  // a graph behind a link
    const auto target = std::filesystem::canonical(mindir_path).parent_path() / "inputs.json";
    path = std::filesystem::exists(target) ? target : path;
  }
  std::ifstream file(path);
  if (!file) {
    throw UserError(path.string() + ": not readable; export.py writes it beside the graph, keep the two together");
  }
  int64_t format = 0;
  try {
    const nlohmann::json json = Description(nlohmann::json::parse(file), mindir_path);
    format = json.value("format", 0);
    if (format > kFormat) {
      throw UserError("format " + std::to_string(format) + ", but this runner reads up to " + std::to_string(kFormat));
    }
    Interface interface;
    for (const auto &port : json.at("inputs")) {
      interface.inputs.push_back(ReadPort(port));
    }
    for (const auto &port : json.at("outputs")) {
      interface.outputs.push_back(ReadPort(port));
    }
    if (json.contains("gears")) {
      interface.gears = ReadGears(json, interface.inputs);
    }
    if (json.contains("config")) {
      interface.config = path.parent_path() / json.at("config").get<std::string>();
    }
    interface.runtime = json.value("runtime", "");
    interface.branches = json.value("branches", 1);
    interface.shortest = json.value("shortest", 0);
    interface.sample_rate = json.at("sample_rate");
    interface.step_seconds = json.at("step_seconds");
    interface.wav_multiple = json.value("wav_multiple", 0);
    return interface;
  } catch (const nlohmann::json::exception &error) {
    throw UserError(path.string() + ": not what export.py writes (" + error.what() + "); export the graph again");
  } catch (const UserError &error) {
    throw UserError(path.string() + ": " + error.what() +
                    (format > kFormat ? "; a later version is needed, build the runner of the programs that exported it"
                                      : "; export the graph again"));
  }
}
