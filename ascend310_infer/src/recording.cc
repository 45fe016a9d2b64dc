#include "recording.h"

#include <algorithm>

#include "error.h"
#include "fitness.h"
#include "resample.h"
#include "text.h"
#include "wav.h"

namespace {
constexpr size_t kBlock = 65536;  // samples of all channels that are held at a time
constexpr int64_t kLowestRate = 1000;
constexpr int64_t kHighestRate = 768000;

// Calls `function`, whose UserErrors get the name of the file.
template <typename Function>
auto Naming(const std::filesystem::path &path, Function function) {
  try {
    return function();
  } catch (const UserError &error) {
    throw UserError(path.string() + ": " + error.what());
  }
}

void CheckRate(const std::filesystem::path &path, int64_t rate, int64_t required) {
  if (required > 0 && rate != required) {
    const std::string target = std::to_string(required);
    throw UserError(std::to_string(rate) + " Hz, but the graph takes " + target + " Hz; resample it: ffmpeg -i " +
                    Quoted(path.string()) + " -ar " + target + " " +
                    Quoted(std::filesystem::path(path).replace_extension("." + target + ".wav").string()));
  }
  if (rate < kLowestRate || rate > kHighestRate) {
    throw UserError(std::to_string(rate) + " Hz, expected " + std::to_string(kLowestRate) + " to " +
                    std::to_string(kHighestRate) + "; its header is damaged, decode the file again");
  }
}
}  // namespace

Recording Recording::Wav(const std::filesystem::path &path, int64_t rate, bool raise_quiet) {
  return {path, &OpenWav, rate, raise_quiet};
}

Recording::Recording(const std::filesystem::path &path, Opener open, int64_t required_rate, bool raise_quiet)
    : path_(path) {
  Naming(path, [&] {
    source_ = open(path);
    CheckRate(path, source_->rate(), required_rate);
    Measure(raise_quiet);
  });
}

void Recording::Measure(bool raise_quiet) {
  Meter meter(source_->channels());
  for (std::vector<float> block = NextBlock(); !block.empty(); block = NextBlock()) {
    meter.Add(block);
  }
  if (meter.count() == 0) {
    throw UserError("holds no samples; leave the file out");
  }
  meter.Check();
  frames_ = meter.count();
  channel_ = meter.Channel();
  gain_ = raise_quiet ? meter.Gain() : 1;
  notes_ = meter.Notes(raise_quiet);
}

std::vector<float> Recording::NextBlock() { return source_->Read(std::max<size_t>(kBlock / source_->channels(), 1)); }

void Recording::Read(int64_t rate, const std::function<void(const std::vector<float> &)> &take) {
  auto resampler = Naming(path_, [&] { return Resampler(source_->rate(), rate, 1); });
  const size_t channels = source_->channels();
  const auto gain = static_cast<float>(gain_);
  source_->Rewind();
  for (;;) {
    const std::vector<float> block = Naming(path_, [&] { return NextBlock(); });
    if (block.empty()) {
      break;
    }
    std::vector<float> mono(block.size() / channels);
    for (size_t i = 0; i < mono.size(); ++i) {
      const float *samples = block.data() + i * channels;
      double sum = channel_ ? samples[*channel_] : 0;
      for (size_t channel = 0; !channel_ && channel < channels; ++channel) {
        sum += samples[channel];
      }
      mono[i] = gain * static_cast<float>(channel_ ? sum : sum / static_cast<double>(channels));
    }
    const std::vector<float> resampled = resampler.Push(mono);
    if (!resampled.empty()) {
      take(resampled);
    }
  }
  const std::vector<float> rest = resampler.Finish();
  if (!rest.empty()) {
    take(rest);
  }
}

std::vector<float> Recording::Whole(int64_t rate) {
  std::vector<float> whole;
  Read(rate, [&](const std::vector<float> &block) { whole.insert(whole.end(), block.begin(), block.end()); });
  return whole;
}

void Recording::PrintNotes() const {
  for (const std::string &note : notes_) {
    PrintLine("note", path_.string() + ": " + note);
  }
}
