#include "interface.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "error.h"

namespace {
constexpr int64_t kElementBytes = 4;
constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();  // no size or number of elements is beyond
constexpr int64_t kMostVoices = 64;
constexpr int64_t kFormat = 1;  // of inputs.json, as MIGRATIONS in utils/export/runner.py; one without it is like 1

// What export.py does not write.
class Damage : public UserError {
 public:
  using UserError::UserError;
};

std::string Show(const nlohmann::json &json) {
  const std::string text = json.dump();
  return text.size() > 40 ? text.substr(0, 40) + "..." : text;
}

// The value of a whole number from `least` to `most`; UserError where it is none.
int64_t Whole(const nlohmann::json &json, const std::string &name, int64_t least, int64_t most = kLargest) {
  const bool fits = json.is_number_integer() && (!json.is_number_unsigned() || json.get<uint64_t>() <= kLargest) &&
                    json.get<int64_t>() >= least && json.get<int64_t>() <= most;
  if (!fits) {
    throw Damage(name + " is " + Show(json) + ", expected a whole number from " + std::to_string(least) + " to " +
                 std::to_string(most));
  }
  return json.get<int64_t>();
}

int64_t WholeOr(const nlohmann::json &json, const std::string &name, int64_t least, int64_t otherwise) {
  return json.contains(name) ? Whole(json.at(name), name, least) : otherwise;
}

Port ReadPort(const nlohmann::json &json) {
  Port port{json.at("name"), json.at("dtype"), {}};
  int64_t elements = 1;
  for (const auto &size : json.at("shape")) {
    port.shape.push_back(size.is_null() ? kAnySize : Whole(size, "shape of " + port.name, 0));
    elements *= std::max<int64_t>(port.shape.back(), 1);
    if (elements > kLargest) {
      throw Damage(port.name + " has more than " + std::to_string(kLargest) + " elements");
    }
  }
  if (port.dtype != "float32" && port.dtype != "int32") {
    throw Damage(port.name + " is " + port.dtype + ", expected float32 or int32");
  }
  if (std::count(port.shape.begin(), port.shape.end(), kAnySize) > 1) {
    throw Damage(port.name + " has several dimensions of any size, expected one at most");
  }
  port.scales = json.value("scales", false);
  if (json.contains("length")) {
    port.add = Whole(json.at("length").at(0), "length of " + port.name, -kLargest);
    port.step = Whole(json.at("length").at(1), "length of " + port.name, 0);
  }
  return port;
}

// The characters of a text.
std::vector<std::string> ReadLabels(const nlohmann::json &json) {
  std::vector<std::string> labels;
  for (const char byte : json.get<std::string>()) {  // the parser has refused what is no UTF-8
    if ((static_cast<unsigned char>(byte) & 0xC0) != 0x80) {
      labels.emplace_back();
    }
    labels.back() += byte;
  }
  return labels;
}

AnswerKind ReadAnswer(const nlohmann::json &json, const std::vector<Port> &outputs) {
  const std::map<std::string, AnswerKind::Kind> kinds = {{"text", AnswerKind::Kind::kText},
                                                         {"voices", AnswerKind::Kind::kVoices},
                                                         {"embedding", AnswerKind::Kind::kEmbedding}};
  AnswerKind answer;
  const auto kind = kinds.find(json.at("kind"));
  if (kind == kinds.end() || outputs.empty() || outputs[0].dtype != "float32") {
    throw Damage("its answer is " + Show(json) + ", expected text, voices or an embedding of a float32 output");
  }
  answer.kind = kind->second;
  const std::vector<int64_t> &shape = outputs[0].shape;
  bool fits = false;
  if (answer.kind == AnswerKind::Kind::kText) {
    answer.labels = ReadLabels(json.at("labels"));
    answer.blank = Whole(json.at("blank"), "blank", 0, static_cast<int64_t>(answer.labels.size()) - 1);
    answer.spaced = json.at("spaced");
    answer.frame_samples = Whole(json.at("frame_samples"), "frame_samples", 1);
    answer.beam_width = WholeOr(json, "beam_width", 0, 0);
    answer.alpha = json.value("alpha", 0.0);
    answer.beta = json.value("beta", 0.0);
    answer.pause = Whole(json.at("pause"), "pause", 1);
    answer.segment = Whole(json.at("segment"), "segment", 1);
    answer.longest = Whole(json.at("longest"), "longest", answer.segment + 1);
    fits = shape.size() == 3 && shape[1] == 1 && shape[2] == static_cast<int64_t>(answer.labels.size());
  } else if (answer.kind == AnswerKind::Kind::kVoices) {
    fits = shape.size() == 3 && shape[0] == 1 && shape[1] >= 1 && shape[1] <= kMostVoices;
  } else {
    if (json.contains("threshold")) {
      answer.threshold = json.at("threshold").get<double>();
    }
    if (json.contains("calibration")) {
      const nlohmann::json &calibration = json.at("calibration");
      answer.calibration =
          Calibration{calibration.at("scale"), calibration.at("offset"), calibration.value("duration", 0.0)};
    }
    fits = shape.size() == 2 && shape[0] == 1 && shape[1] >= 1;
  }
  if (!fits) {
    throw Damage(outputs[0].name + " has another shape than that of its answer, " + kind->first);
  }
  answer.window = Whole(json.at("window"), "window", 1);
  answer.overlap = WholeOr(json, "overlap", 0, 0);
  if (answer.overlap > answer.window / 2) {
    throw Damage("overlap is " + Show(json.at("overlap")) + ", expected half a window at most");
  }
  return answer;
}

size_t Find(const std::vector<Port> &ports, const std::string &name) {
  const auto port = std::find_if(ports.begin(), ports.end(), [&](const Port &each) { return each.name == name; });
  return static_cast<size_t>(port - ports.begin());
}

Streaming ReadStreaming(const nlohmann::json &json, const std::vector<Port> &inputs, const std::vector<Port> &outputs) {
  Streaming streaming;
  streaming.samples = Whole(json.at("samples"), "samples", 1);
  streaming.window = Whole(json.at("window"), "window", streaming.samples);
  streaming.mirrored = Whole(json.at("mirrored"), "mirrored", 0, streaming.window);
  streaming.before = Whole(json.at("before"), "before", 0, streaming.window - streaming.samples);
  streaming.rows = Whole(json.at("rows"), "rows", 1);
  streaming.delay = Whole(json.at("delay"), "delay", 0, 1'000'000);
  streaming.add = Whole(json.at("length").at(0), "length", 0);
  streaming.step = Whole(json.at("length").at(1), "length", 1);
  streaming.shortest = Whole(json.at("shortest"), "shortest", 0, streaming.window);
  bool fits = inputs.size() > 1 && inputs[0].shape == std::vector<int64_t>{1, streaming.window} &&
              inputs[0].dtype == "float32" && inputs[1].name == json.at("count") && inputs[1].dtype == "int32" &&
              inputs[1].shape == std::vector<int64_t>{1} && json.at("states").size() == inputs.size() - 2 &&
              !outputs.empty() && outputs[0].dtype == "float32";
  for (size_t i = 2; fits && i < inputs.size(); ++i) {
    const size_t output = Find(outputs, json.at("states").value(inputs[i].name, ""));
    fits = output > 0 && output < outputs.size() && outputs[output].shape == inputs[i].shape &&
           outputs[output].dtype == inputs[i].dtype &&
           std::count(inputs[i].shape.begin(), inputs[i].shape.end(), kAnySize) == 0;
    streaming.states.push_back(output);
  }
  if (!fits) {
    throw Damage("its inputs and outputs are not those of its steps, expected a window, a count and states");
  }
  return streaming;
}

std::vector<int64_t> ReadGears(const nlohmann::json &json, const std::vector<Port> &inputs) {
  std::vector<int64_t> gears;
  for (const auto &gear : json.at("gears")) {
    gears.push_back(Whole(gear, "gears", 1));
  }
  const bool padded =
      inputs.size() > 1 && inputs[0].shape.size() > 1 && inputs[0].shape[0] == 1 && inputs[0].shape[1] == kAnySize;
  if (!padded || gears.empty() || !std::is_sorted(gears.begin(), gears.end())) {
    throw Damage("its gears are no rising lengths of the second dimension of the first input");
  }
  const Port &last = inputs.back();
  if (last.name != json.at("length_input") || last.dtype != "int32" || last.shape != std::vector<int64_t>{1}) {
    throw Damage("its last input is no length_input of one int32");
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

std::filesystem::path ReadConfig(const nlohmann::json &json, const std::filesystem::path &folder) {
  const std::filesystem::path name = json.at("config").get<std::string>();
  if (name.empty() || name != name.filename() || name == "..") {
    throw Damage("config is " + Show(json.at("config")) + ", expected the name of a file beside it");
  }
  return folder / name;
}
}  // namespace

void RequireSize(size_t found, size_t rows, size_t columns) {
  if (found != rows * columns) {
    throw UserError("the graph gives " + std::to_string(found) + " numbers, expected " + std::to_string(rows) + " x " +
                    std::to_string(columns) + "; export it again");
  }
}

void RequireNumbers(const std::vector<float> &values, const AnswerKind &answer) {
  const bool is_text = answer.kind == AnswerKind::Kind::kText;
  const bool fine = std::all_of(values.begin(), values.end(), [is_text](float value) {
    return std::isfinite(value) || (is_text && std::isinf(value) && value < 0);
  });
  if (!fine) {
    throw UserError(
        "the network computes values that are not numbers (NaN or infinite); on an Ascend run it with --precision "
        "enforce_fp32, or export another checkpoint");
  }
}

std::vector<int64_t> Port::ShapeOf(size_t bytes) const {
  int64_t known = kElementBytes;
  for (const int64_t size : shape) {
    known *= size == kAnySize ? 1 : size;
  }
  std::vector<int64_t> result = shape;
  const auto any = std::find(result.begin(), result.end(), kAnySize);
  const auto total = static_cast<int64_t>(bytes);
  if (total == 0 || known == 0 || (any == result.end() ? total != known : total % known != 0)) {
    throw UserError(std::to_string(bytes) + " bytes, but the graph takes " +
                    (any == result.end() ? "" : "multiples of ") + std::to_string(known) + " for " + name);
  }
  if (any != result.end()) {
    *any = total / known;
  }
  return result;
}

bool Interface::TakesWaveform() const {
  return wav_multiple > 0 && FileCount() == 1 && inputs[0].dtype == "float32" && inputs[0].shape.size() == 2;
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
    format = WholeOr(json, "format", 0, 0);
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
    if (interface.inputs.empty() || interface.inputs[0].shape.size() < 2) {
      throw Damage("its first input has no second dimension, expected the length of a recording");
    }
    if (json.contains("answer")) {
      interface.answer = ReadAnswer(json.at("answer"), interface.outputs);
    }
    if (json.contains("streaming")) {
      interface.streaming = ReadStreaming(json.at("streaming"), interface.inputs, interface.outputs);
    }
    if (json.contains("gears")) {
      interface.gears = ReadGears(json, interface.inputs);
    }
    if (json.contains("config")) {
      interface.config = ReadConfig(json, path.parent_path());
    }
    interface.runtime = json.value("runtime", "");
    // a graph of an earlier version, which does not say so, may hold some
    interface.custom = interface.runtime == "lite2.0-cpu" &&
                       (!json.contains("custom_operators") || !json.at("custom_operators").empty());
    interface.branches = WholeOr(json, "branches", 1, 1);
    interface.shortest = WholeOr(json, "shortest", 0, 0);
    interface.raise_quiet = json.value("raise_quiet", false);
    interface.wav_multiple = WholeOr(json, "wav_multiple", 0, 0);
    interface.sample_rate = Whole(json.at("sample_rate"), "sample_rate", 1);
    interface.step_seconds = json.at("step_seconds");
    if (interface.step_seconds <= 0) {
      throw Damage("step_seconds is " + Show(json.at("step_seconds")) + ", expected a length of time");
    }
    return interface;
  } catch (const nlohmann::json::exception &error) {
    throw UserError(path.string() + ": not what export.py writes (" + error.what() + "); export the graph again");
  } catch (const Damage &error) {
    throw UserError(path.string() + ": not what export.py writes (" + error.what() + "); export the graph again");
  } catch (const UserError &error) {
    throw UserError(path.string() + ": " + error.what() +
                    (format > kFormat ? "; a later version is needed, build the runner of the programs that exported it"
                                      : "; export the graph again"));
  }
}

void RefuseSteps(const Interface &interface, const std::string &mindir_path) {
  if (interface.streaming.samples > 0) {
    throw UserError(mindir_path + ": takes a recording step by step as it arrives; run it with --stream, or export " +
                    "the graph without --streaming");
  }
}
