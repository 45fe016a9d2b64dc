// RIFF WAVE files: PCM of 8, 16, 24 and 32 bit, IEEE float of 32 and 64 bit.
#ifndef ASCEND310_INFER_INC_WAV_H_
#define ASCEND310_INFER_INC_WAV_H_

#include <cstdint>
#include <string>
#include <vector>

struct Wav {
  std::vector<float> samples;  // mean of the channels, in [-1, 1]
  int64_t rate = 0;            // Hz
};

// Decodes the content of a file. UserError where it is no such file, cut, empty or not finite.
Wav DecodeWav(const std::string &content);

#endif  // ASCEND310_INFER_INC_WAV_H_
