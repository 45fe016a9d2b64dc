// Sound files of any format as a stream of samples.
#ifndef ASCEND310_INFER_INC_AUDIO_SOURCE_H_
#define ASCEND310_INFER_INC_AUDIO_SOURCE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

class AudioSource {
 public:
  virtual ~AudioSource() = default;

  virtual int64_t rate() const = 0;  // Hz
  virtual size_t channels() const = 0;

  // The next `count` samples of every channel, those of one time together; fewer only at the end. UserError, which does
  // not name the file, where it is damaged or ends before its header says.
  virtual std::vector<float> Read(size_t count) = 0;

  // Goes back to the first sample.
  virtual void Rewind() = 0;
};

// Opens a file of any format: wav.h, and what libsndfile reads where the program is built with it. What the file holds
// decides, not its name. UserError, which does not name the file, where it is not readable as sound.
std::unique_ptr<AudioSource> OpenAudio(const std::filesystem::path &path);

#endif  // ASCEND310_INFER_INC_AUDIO_SOURCE_H_
