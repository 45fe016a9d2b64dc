// RIFF WAVE files, RF64 too: PCM of up to 32 bit, IEEE float of 32 and 64 bit, A-law and mu-law.
#ifndef ASCEND310_INFER_INC_WAV_H_
#define ASCEND310_INFER_INC_WAV_H_

#include <filesystem>
#include <memory>
#include <string>

#include "audio_source.h"
#include "error.h"

// A file of another format or codec, which other libraries and programs may read.
class OtherFormat : public UserError {
 public:
  explicit OtherFormat(const std::string &format, const std::string &remedy)
      : UserError(format + ", expected a wav file of PCM, float, A-law or mu-law; " + remedy), format_(format) {}

  const std::string &format() const { return format_; }

 private:
  std::string format_;
};

// Opens a wav file. OtherFormat, of a wav that is whole, or UserError where it is cut or empty. Where the header does
// not tell the length, as when it was written to a pipe, the samples go on to the end of the file.
std::unique_ptr<AudioSource> OpenWav(const std::filesystem::path &path);

#endif  // ASCEND310_INFER_INC_WAV_H_
