// Recordings from files, block by block, as utils/audio/recording.py: an hour needs no more memory than a minute.
#ifndef ASCEND310_INFER_INC_RECORDING_H_
#define ASCEND310_INFER_INC_RECORDING_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audio_source.h"

// A file that was read once and found fit.
class Recording {
 public:
  // Opens a file of any format and measures it (fitness.h); a quiet one is raised. UserError, which names the file,
  // where it is not readable, cut, empty or not fit.
  explicit Recording(const std::filesystem::path &path) : Recording(path, &OpenAudio, 0, true) {}

  // A wav file of a rate. UserError where it is none; a quiet one is raised only if `raise_quiet`.
  static Recording Wav(const std::filesystem::path &path, int64_t rate, bool raise_quiet);

  int64_t rate() const { return source_->rate(); }                  // Hz
  int64_t frames() const { return frames_; }                        // samples of a channel
  double gain() const { return gain_; }                             // what the samples are multiplied by
  const std::vector<std::string> &notes() const { return notes_; }  // what a user should know of it
  const std::filesystem::path &path() const { return path_; }

  // Hands its sound at `rate` Hz to `take`, block by block. UserError where it has another rate and the program is
  // built without libsoxr.
  void Read(int64_t rate, const std::function<void(const std::vector<float> &)> &take);

  // All of it at `rate` Hz.
  std::vector<float> Whole(int64_t rate);

  // Prints the notes on standard error.
  void PrintNotes() const;

 private:
  using Opener = std::unique_ptr<AudioSource> (*)(const std::filesystem::path &);

  Recording(const std::filesystem::path &path, Opener open, int64_t required_rate, bool raise_quiet);

  void Measure(bool raise_quiet);
  std::vector<float> NextBlock();

  std::filesystem::path path_;
  std::unique_ptr<AudioSource> source_;
  int64_t frames_ = 0;
  std::optional<size_t> channel_;  // the only one that is used; none: their mean
  double gain_ = 1;
  std::vector<std::string> notes_;
};

#endif  // ASCEND310_INFER_INC_RECORDING_H_
