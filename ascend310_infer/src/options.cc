#include "options.h"

#include <charconv>
#include <map>
#include <vector>

#include "error.h"

namespace {
constexpr char kUsage[] =
    "usage: main --mindir_path FILE --input_path FOLDER --output_path FOLDER [--device_target Ascend|CPU] "
    "[--device_id N] [--precision NAME] [--threads N] [--warmup N]";

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

int ParseNumber(const std::string &flag, const std::string &text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    throw UserError("--" + flag + ": found '" + text + "', expected a whole number from " + std::to_string(least) +
                    " to " + std::to_string(most));
  }
  return number;
}
}  // namespace

Options ParseOptions(int argc, const char *const *argv) {
  Options options;
  const std::map<std::string, std::string *> texts = {{"mindir_path", &options.mindir_path},
                                                      {"input_path", &options.input_path},
                                                      {"output_path", &options.output_path},
                                                      {"device_target", &options.device_target},
                                                      {"precision", &options.precision}};
  struct Number {
    int *value;
    int least, most;
  };
  const std::map<std::string, Number> numbers = {{"device_id", {&options.device_id, 0, 1023}},
                                                 {"threads", {&options.threads, 1, 1024}},
                                                 {"warmup", {&options.warmup, 0, 1000000}}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string flag = argument.rfind("--", 0) == 0 ? argument.substr(2, equals - 2) : "";
    const auto text = texts.find(flag);
    const auto number = numbers.find(flag);
    if (text == texts.end() && number == numbers.end()) {
      throw UserError("found '" + argument + "'; " + kUsage);
    }
    if (equals == std::string::npos && i + 1 == argc) {
      throw UserError("--" + flag + ": a value is missing; " + kUsage);
    }
    const std::string value = equals == std::string::npos ? argv[++i] : argument.substr(equals + 1);
    if (text != texts.end()) {
      *text->second = value;
    } else {
      const auto [target, least, most] = number->second;
      *target = ParseNumber(flag, value, least, most);
    }
  }
  for (const char *flag : {"mindir_path", "input_path", "output_path"}) {
    if (texts.at(flag)->empty()) {
      throw UserError(std::string("--") + flag + " is missing; " + kUsage);
    }
  }
  CheckName("device_target", options.device_target, {"Ascend", "CPU"});
  CheckName("precision", options.precision,
            {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin", "preferred_optimal"});
  return options;
}
