#include "options.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include "error.h"
#include "text.h"

namespace {
constexpr char kUsage[] =
    "usage: main --mindir_path FILE --input_path FOLDER --output_path FOLDER, or main --mindir_path FILE RECORDING "
    "...; "
    "see ascend310_infer/README.md";

int ParseNumber(const std::string &flag, const std::string &text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    throw UserError("--" + flag + ": found '" + text + "', expected a whole number from " + std::to_string(least) +
                    " to " + std::to_string(most));
  }
  return number;
}

double ParseDecimal(const std::string &flag, const std::string &text, int least, int most) {
  char *end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= least && value <= most)) {
    throw UserError("--" + flag + ": found '" + text + "', expected a number from " + std::to_string(least) + " to " +
                    std::to_string(most));
  }
  return value;
}

enum Work : unsigned { kFolder = 1, kRecordings = 2, kStream = 4 };

// The flags that are not for all kinds of work, and what they are for; input_path is what makes it a folder's.
const std::map<std::string, unsigned> kFor = {{"warmup", kFolder},
                                              {"json", kRecordings | kStream},
                                              {"timestamps", kRecordings | kStream},
                                              {"beam_width", kRecordings | kStream},
                                              {"lm_path", kRecordings | kStream},
                                              {"alpha", kRecordings | kStream},
                                              {"beta", kRecordings | kStream},
                                              {"embed", kRecordings},
                                              {"threshold", kRecordings},
                                              {"enrolled", kRecordings},
                                              {"enrol", kRecordings},
                                              {"sample_rate", kStream}};

// Flags of which one makes the other useless.
constexpr std::pair<const char *, const char *> kEither[] = {
    {"embed", "enrolled"}, {"threshold", "embed"}, {"threshold", "enrol"}};

// UserError for a flag that has no effect on this kind of work, or beside another flag.
void CheckUse(const Options &options) {
  const unsigned work = options.stream ? kStream : !options.recordings.empty() ? kRecordings : kFolder;
  const std::string found = options.stream ? "--stream" : work == kRecordings ? options.recordings[0] : "--input_path";
  const std::map<unsigned, std::string> expected = {{kFolder, "--input_path"},
                                                    {kRecordings, "recordings"},
                                                    {kStream, "--stream"},
                                                    {kRecordings | kStream, "recordings or --stream"}};
  for (const std::string &flag : options.given) {
    const auto use = kFor.find(flag);
    if (use != kFor.end() && (use->second & work) == 0) {
      throw UserError("--" + flag + ": found with " + found + ", expected " + expected.at(use->second) +
                      "; leave it out");
    }
  }
  for (const auto &[flag, other] : kEither) {
    if (options.given.count(flag) > 0 && options.given.count(other) > 0) {
      throw UserError(std::string("--") + flag + ": found with --" + other + ", expected one of them");
    }
  }
}

// UserError for a value that is to become JSON and cannot.
void CheckText(const std::string &flag, const std::string &value) {
  if (!IsUtf8(value)) {
    throw UserError("--" + flag + ": found '" + value + "', expected UTF-8; give another name");
  }
}

// UserError for flags that do not go together.
void CheckTogether(const Options &options) {
  const bool answers = !options.recordings.empty() || options.stream;
  const auto require = [](const std::string &value, const std::string &flag) {
    if (value.empty()) {
      throw UserError("--" + flag + " is missing; " + kUsage);
    }
  };
  require(options.mindir_path, "mindir_path");
  if (!answers) {
    require(options.input_path, "input_path");
    require(options.output_path, "output_path");
  } else if (!options.input_path.empty()) {
    throw UserError("--input_path: found with " + (options.stream ? "--stream" : options.recordings[0]) +
                    ", expected a folder or recordings; " + kUsage);
  }
  if (options.stream && !options.recordings.empty()) {
    throw UserError("--stream: found with " + options.recordings[0] + ", expected standard input alone");
  }
  if (!options.enrol.empty()) {
    require(options.enrolled, "enrolled");
  }
  CheckUse(options);
}
}  // namespace

Options ParseOptions(int argc, const char *const *argv) {
  Options options;
  const std::map<std::string, std::string *> texts = {
      {"mindir_path", &options.mindir_path},    {"input_path", &options.input_path},
      {"output_path", &options.output_path},    {"device_target", &options.device.target},
      {"precision", &options.device.precision}, {"lm_path", &options.lm_path},
      {"enrolled", &options.enrolled},          {"enrol", &options.enrol}};
  const std::map<std::string, bool *> switches = {{"stream", &options.stream},
                                                  {"json", &options.json},
                                                  {"timestamps", &options.timestamps},
                                                  {"embed", &options.embed}};
  struct Number {
    int *value;
    int least, most;
  };
  const std::map<std::string, Number> numbers = {{"device_id", {&options.device.id, 0, 1023}},
                                                 {"threads", {&options.device.threads, 1, 1024}},
                                                 {"warmup", {&options.warmup, 0, 1000000}},
                                                 {"sample_rate", {&options.sample_rate, 1, 1000000}},
                                                 {"beam_width", {&options.beam_width, 0, 10000}}};
  struct Decimal {
    std::optional<double> *value;
    int least, most;
  };
  const std::map<std::string, Decimal> decimals = {{"threshold", {&options.threshold, -2, 2}},
                                                   {"alpha", {&options.alpha, -1000, 1000}},
                                                   {"beta", {&options.beta, -1000, 1000}}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--", 0) != 0) {
      options.recordings.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string flag = argument.substr(2, equals - 2);
    const auto text = texts.find(flag);
    const auto number = numbers.find(flag);
    const auto decimal = decimals.find(flag);
    const auto is_set = switches.find(flag);
    options.given.insert(flag);
    if (is_set != switches.end() && equals == std::string::npos) {
      *is_set->second = true;
      continue;
    }
    if (text == texts.end() && number == numbers.end() && decimal == decimals.end()) {
      throw UserError("found '" + argument + "'; " + kUsage);
    }
    if (equals == std::string::npos && i + 1 == argc) {
      throw UserError("--" + flag + ": a value is missing; " + kUsage);
    }
    const std::string value = equals == std::string::npos ? argv[++i] : argument.substr(equals + 1);
    if (text != texts.end()) {
      *text->second = value;
    } else if (number != numbers.end()) {
      const auto [target, least, most] = number->second;
      *target = ParseNumber(flag, value, least, most);
    } else {
      const auto [target, least, most] = decimal->second;
      *target = ParseDecimal(flag, value, least, most);
    }
  }
  CheckText("enrol", options.enrol);
  CheckText("lm_path", options.lm_path);
  CheckTogether(options);
  CheckDevice(options.device);
  return options;
}
