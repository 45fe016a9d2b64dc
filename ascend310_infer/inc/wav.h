// RIFF WAVE files, RF64 too: PCM of up to 32 bit, IEEE float of 32 and 64 bit, A-law and mu-law.
#ifndef ASCEND310_INFER_INC_WAV_H_
#define ASCEND310_INFER_INC_WAV_H_

#include <cstdint>
#include <filesystem>
#include <string_view>

// The samples of a file, in its content.
struct Wav {
  std::string_view data;  // whole frames: those of all channels at one time stand together
  int64_t rate = 0;       // Hz
  size_t channels = 0;
  size_t width = 0;       // bytes of a sample
  uint16_t encoding = 0;  // of Microsoft's wFormatTag

  // Number of samples of a channel.
  size_t Count() const { return data.size() / (width * channels); }

  // A sample in [-1, 1].
  double At(size_t place, size_t channel) const;
};

// Reads the header of a file; the result refers to `content`. `path` is for the command that converts what is not read
// here. UserError where it is no such file, of another codec, cut or empty. Where the header does not tell the length,
// as when it was written to a pipe, the samples go on to the end of the file.
Wav ReadWav(std::string_view content, const std::filesystem::path &path);

#endif  // ASCEND310_INFER_INC_WAV_H_
