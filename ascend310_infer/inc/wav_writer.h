// Wav files of 16-bit PCM, written as their samples come; RF64 beyond 4 GB.
#ifndef ASCEND310_INFER_INC_WAV_WRITER_H_
#define ASCEND310_INFER_INC_WAV_WRITER_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

class WavWriter {
 public:
  // kWhole: the file is there when all is written, and not before. kGrowing: it is there at once, where none was, and
  // what is written so far can be read at any time.
  enum class Mode { kWhole, kGrowing };

  // One channel at `rate` Hz. OutputError, here and below, where it cannot be written.
  WavWriter(const std::filesystem::path &path, int64_t rate, Mode mode = Mode::kWhole);

  // Without Close(): removes what is not whole, and what grows and holds no samples.
  ~WavWriter();
  WavWriter(WavWriter &&other) noexcept;
  WavWriter &operator=(WavWriter &&) = delete;

  // The next samples in [-1, 1], rounded and clipped as by Python's write_wav.
  void Write(const std::vector<float> &samples);

  // All samples are written.
  void Close();

 private:
  void Put(const std::string &bytes, int64_t place);
  void PutHeader();
  [[noreturn]] void Refuse(int reason);
  void Discard() noexcept;

  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty: written at its place
  int64_t rate_;
  int descriptor_ = -1;
  uint64_t frames_ = 0;
};

// The header of a wav file of one channel of 16-bit PCM.
std::string WavHeader(int64_t rate, uint64_t frames);

#endif  // ASCEND310_INFER_INC_WAV_WRITER_H_
