#include <cstdio>
#include <iostream>

#include "output.h"

namespace {
class TextOutput : public Output {
 public:
  explicit TextOutput(const Options &options) : options_(options) {}

  void Begin(const Source &source) override {
    path_ = source.path;
    if (options_.recordings.size() > 1 && !options_.json) {
      std::cout << path_ << ":" << std::endl;
    }
  }

  void Add(const nlohmann::json &result) override {
    if (options_.json) {
      nlohmann::json line = result;
      if (!path_.empty()) {
        line["file"] = path_;
      }
      PrintJson(line);
      return;
    }
    if (!options_.timestamps) {
      const std::string text = result.at("text");
      std::cout << text << (text.empty() ? "" : "\n") << std::flush;
      return;
    }
    for (const auto &word : result.at("words")) {
      char times[64];
      std::snprintf(times, sizeof(times), "%.2f %.2f ", word.at("start").get<double>(), word.at("end").get<double>());
      std::cout << times << word.at("text").get<std::string>() << "\n";
    }
    std::cout << std::flush;
  }

  void End() override {}

 private:
  const Options options_;
  std::string path_;
};
}  // namespace

std::unique_ptr<Output> MakeTextOutput(const Options &options, const nlohmann::json &) {
  return std::make_unique<TextOutput>(options);
}
