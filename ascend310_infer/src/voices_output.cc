// Speakers to wav files, block by block, as conv_tasnet/src/outputs.py writes them: an hour needs no more memory than a
// minute.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "error.h"
#include "files.h"
#include "interrupt.h"
#include "output.h"
#include "wav_writer.h"

namespace fs = std::filesystem;

namespace {
constexpr size_t kBlock = 65536;  // samples of a speaker that are turned into those of a wav at a time

fs::path RealPath(const fs::path &path) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(path, error);
  return error ? fs::absolute(path) : real;
}

std::vector<fs::path> OutputPaths(const std::string &recording, const fs::path &folder, size_t speakers) {
  std::vector<fs::path> paths;
  for (size_t i = 1; i <= speakers; ++i) {
    paths.push_back(folder / (fs::path(recording).stem().string() + "_" + std::to_string(i) + ".wav"));
  }
  return paths;
}

// UserError where two recordings would share a path, or one would be overwritten.
void CheckPaths(const std::vector<std::string> &recordings, const fs::path &folder, size_t speakers) {
  std::set<fs::path> inputs;
  for (const std::string &recording : recordings) {
    inputs.insert(RealPath(recording));
  }
  std::map<fs::path, std::string> taken;
  for (const std::string &recording : recordings) {
    for (const fs::path &path : OutputPaths(recording, folder, speakers)) {
      const fs::path real = RealPath(path);
      if (inputs.count(real) > 0) {
        throw UserError(real.string() + ": is an input and would be overwritten; give another --output_path");
      }
      const auto [place, fresh] = taken.emplace(real, recording);
      if (!fresh) {
        throw UserError(recording + ": would be written to the same " + real.string() + " as " + place->second +
                        "; separate one of them into another --output_path");
      }
    }
  }
}

// Floats on the disk, in a file without a name, which is gone when it is closed or the process ends.
class RawFile {
 public:
  // OutputError, here and below, where that fails; `wanted` is the file it is for.
  RawFile(const fs::path &folder, fs::path wanted) : wanted_(std::move(wanted)) {
    fs::path path;
    file_ = OpenStream(OpenTemporary(folder, &path), "w+b");
    const int reason = errno;
    unlink(path.c_str());
    if (file_ == nullptr) {
      errno = reason;
      Refuse();
    }
  }
  ~RawFile() { std::fclose(file_); }
  RawFile(const RawFile &) = delete;
  RawFile &operator=(const RawFile &) = delete;

  void Write(const std::vector<float> &values) {
    if (std::fwrite(values.data(), sizeof(float), values.size(), file_) != values.size()) {
      Refuse();
    }
  }

  void Rewind() {
    if (std::fflush(file_) != 0 || std::fseek(file_, 0, SEEK_SET) != 0) {
      Refuse();
    }
  }

  // Up to `count`; fewer only at the end.
  std::vector<float> Read(size_t count) {
    std::vector<float> values(count);
    values.resize(std::fread(values.data(), sizeof(float), count, file_));
    if (std::ferror(file_) != 0) {
      Refuse();
    }
    return values;
  }

 private:
  [[noreturn]] void Refuse() const { RefuseOutput(wanted_, std::strerror(errno)); }

  fs::path wanted_;
  std::FILE *file_ = nullptr;
};

constexpr double kAudible = -20;  // AUDIBLE of level.py

std::string Fixed(double value, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

class VoicesOutput : public Output {
 public:
  VoicesOutput(const Options &options, const nlohmann::json &graph)
      : json_(options.json),
        folder_(options.output_path.empty() ? kSeparated : options.output_path),
        speakers_(graph.at("voices").get<size_t>()) {
    CheckPaths(options.recordings, folder_, speakers_);
    RequireWritable(folder_);
  }

  void Begin(const Source &source) override {
    source_ = source;
    paths_ = OutputPaths(source.path, folder_, speakers_);
    raw_ = std::make_unique<RawFile>(folder_, paths_[0]);
    peaks_.assign(speakers_, 0);
    written_ = 0;
  }

  void AddVoices(const std::vector<std::vector<float>> &voices) override {
    std::vector<float> block(voices[0].size() * speakers_);  // the speakers of one time together
    for (size_t i = 0; i < speakers_; ++i) {
      for (size_t place = 0; place < voices[i].size(); ++place) {
        block[place * speakers_ + i] = voices[i][place];
        peaks_[i] = std::max(peaks_[i], std::abs(voices[i][place]));
      }
    }
    raw_->Write(block);
    written_ += static_cast<int64_t>(voices[0].size());
  }

  void Add(const nlohmann::json &result) override {
    gains_ = result.at("gains").get<std::vector<double>>();
    decibels_ = result.at("decibels").get<std::vector<double>>();
  }

  void End() override {
    double peak = 0;
    for (size_t i = 0; i < speakers_; ++i) {
      gains_[i] /= source_.gain;
      peak = std::max(peak, std::abs(gains_[i]) * peaks_[i]);
    }
    WriteWavs(std::max(1.0, peak));
    raw_.reset();
    Print(peak);
  }

 private:
  void WriteWavs(double divisor) {
    std::vector<WavWriter> wavs;
    for (const fs::path &path : paths_) {
      wavs.emplace_back(path, source_.rate);
    }
    raw_->Rewind();
    for (;;) {
      CheckInterrupt();
      const std::vector<float> block = raw_->Read(kBlock * speakers_);
      if (block.empty()) {
        break;
      }
      std::vector<float> samples(block.size() / speakers_);
      for (size_t i = 0; i < speakers_; ++i) {
        for (size_t place = 0; place < samples.size(); ++place) {
          samples[place] = static_cast<float>(gains_[i] / divisor * block[place * speakers_ + i]);
        }
        wavs[i].Write(samples);
      }
    }
    for (WavWriter &wav : wavs) {  // all are complete
      wav.Close();
    }
  }

  void Print(double peak) const {
    const double decibels = peak > 1 ? 20 * std::log10(peak) : 0;
    if (json_) {
      const nlohmann::json line = {
          {"file", source_.path},        {"seconds", static_cast<double>(written_) / static_cast<double>(source_.rate)},
          {"sample_rate", source_.rate}, {"speakers", std::vector<std::string>(paths_.begin(), paths_.end())},
          {"decibels", decibels_},       {"voices", Voices()},
          {"turned_down_db", decibels}};
      PrintJson(line);
      return;
    }
    if (peak > 1) {
      std::cout << source_.path << ": all speakers turned down by " << Fixed(decibels, 1)
                << " dB, for one would peak at " << Fixed(peak, 2) << " and be clipped\n";
    }
    std::cout << source_.path << ": " << Fixed(static_cast<double>(written_) / static_cast<double>(source_.rate), 1)
              << " s at " << source_.rate << " Hz ->";
    for (const fs::path &path : paths_) {
      std::cout << ' ' << path.string();
    }
    std::cout << "; " << Voices() << (Voices() == 1 ? " voice (" : " voices (");
    for (size_t i = 0; i < decibels_.size(); ++i) {
      std::cout << (i > 0 ? ", " : "") << Fixed(decibels_[i], 1);
    }
    std::cout << " dB)" << std::endl;
  }

  int64_t Voices() const {
    return std::count_if(decibels_.begin(), decibels_.end(), [](double decibels) { return decibels > kAudible; });
  }

  const bool json_;
  const fs::path folder_;
  const size_t speakers_;
  Source source_;
  std::vector<fs::path> paths_;
  std::unique_ptr<RawFile> raw_;
  std::vector<float> peaks_;      // of each speaker
  std::vector<double> gains_;     // of each speaker
  std::vector<double> decibels_;  // against the mixture
  int64_t written_ = 0;           // samples of each
};
}  // namespace

std::unique_ptr<Output> MakeVoicesOutput(const Options &options, const nlohmann::json &graph) {
  return std::make_unique<VoicesOutput>(options, graph);
}
