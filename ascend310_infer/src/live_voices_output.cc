// Speakers to wav files that grow while the sound arrives, and can be read at any time.
#include <filesystem>
#include <iostream>

#include "files.h"
#include "output.h"
#include "wav_writer.h"

namespace fs = std::filesystem;

namespace {
class LiveVoicesOutput : public Output {
 public:
  LiveVoicesOutput(const Options &options, const nlohmann::json &graph) : json_(options.json) {
    const fs::path folder = options.output_path.empty() ? kSeparated : options.output_path;
    MakeFolder(folder);
    for (size_t i = 1; i <= graph.at("voices"); ++i) {
      paths_.push_back(folder / ("live_" + std::to_string(i) + ".wav"));
      if (fs::exists(fs::symlink_status(paths_.back()))) {  // what was live cannot be had again
        RefuseExisting(paths_.back());
      }
    }
  }

  void Begin(const Source &source) override {
    rate_ = source.rate;
    for (const fs::path &path : paths_) {
      writers_.emplace_back(path, rate_, WavWriter::Mode::kGrowing);
    }
  }

  void Add(const nlohmann::json &) override {}  // gains, of 1

  void AddVoices(const std::vector<std::vector<float>> &voices) override {
    for (size_t i = 0; i < writers_.size(); ++i) {
      writers_[i].Write(voices[i]);
    }
    written_ += static_cast<int64_t>(voices[0].size());
  }

  void End() override {
    for (WavWriter &writer : writers_) {
      writer.Close();
    }
    if (json_) {
      PrintJson({{"seconds", static_cast<double>(written_) / static_cast<double>(rate_)},
                 {"sample_rate", rate_},
                 {"speakers", std::vector<std::string>(paths_.begin(), paths_.end())}});
      return;
    }
    for (size_t i = 0; i < paths_.size(); ++i) {
      std::cout << (i > 0 ? " " : "") << paths_[i].string();
    }
    std::cout << std::endl;
  }

 private:
  const bool json_;
  std::vector<fs::path> paths_;
  std::vector<WavWriter> writers_;
  int64_t rate_ = 0;
  int64_t written_ = 0;  // samples of each
};
}  // namespace

std::unique_ptr<Output> MakeLiveVoicesOutput(const Options &options, const nlohmann::json &graph) {
  return std::make_unique<LiveVoicesOutput>(options, graph);
}
