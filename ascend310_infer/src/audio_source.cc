#include "audio_source.h"

#include "text.h"
#include "wav.h"

#ifdef HAS_SNDFILE
#include <sndfile.h>
#include <unistd.h>

#include "containers.h"
#include "input_file.h"

namespace {
class SndfileSource : public AudioSource {
 public:
  // `counted`: samples of an MP3 of which libsndfile can only guess how many there are; 0: it knows.
  SndfileSource(const std::filesystem::path &path, int64_t counted) : file_(path), counted_(counted) {
    Rewind();
    if (info_.frames < counted) {
      throw UserError("its first frame does not tell its length, and libsndfile would read " +
                      std::to_string(info_.frames) + " of " + std::to_string(counted) + " samples");
    }
  }

  int64_t rate() const override { return info_.samplerate; }
  size_t channels() const override { return static_cast<size_t>(info_.channels); }

  std::vector<float> Read(size_t count) override {
    std::vector<float> samples(count * channels());
    const sf_count_t there = sf_readf_float(sndfile_.get(), samples.data(), static_cast<sf_count_t>(count));
    if (sf_error(sndfile_.get()) != SF_ERR_NO_ERROR) {
      throw UserError(std::string("damaged or truncated (") + sf_strerror(sndfile_.get()) + "); replace the file");
    }
    place_ += there;
    if (there < static_cast<sf_count_t>(count) && place_ < info_.frames && info_.frames < kUnknown && counted_ == 0) {
      throw UserError("truncated, " + std::to_string(place_) + " samples found, its header promises " +
                      std::to_string(info_.frames) + "; copy the file again");
    }
    samples.resize(static_cast<size_t>(there) * channels());
    return samples;
  }

  void Rewind() override {  // opened again: to seek back gives other last bits in some formats
    sndfile_.reset();
    info_ = {};
    lseek(file_.descriptor(), 0, SEEK_SET);
    sndfile_.reset(sf_open_fd(file_.descriptor(), SFM_READ, &info_, SF_FALSE));
    if (sndfile_ == nullptr) {
      throw UserError(std::string("not readable as audio (") + sf_strerror(nullptr) + ")");
    }
    place_ = 0;
  }

 private:
  static constexpr sf_count_t kUnknown = SF_COUNT_MAX / 2;  // frames of a file that does not tell their number

  struct Close {
    void operator()(SNDFILE *sndfile) const { sf_close(sndfile); }
  };

  InputFile file_;
  int64_t counted_;
  SF_INFO info_{};
  std::unique_ptr<SNDFILE, Close> sndfile_;
  sf_count_t place_ = 0;
};
}  // namespace

std::unique_ptr<AudioSource> OpenAudio(const std::filesystem::path &path) {
  try {
    return OpenWav(path);
  } catch (const OtherFormat &other) {
    const InputFile file(path);
    const bool wav = file.Holds(0, "RIFF") || file.Holds(0, "RF64");
    const std::string remedy = "; convert it: ffmpeg -i " + Quoted(path.string()) + " " +
                               Quoted(std::filesystem::path(path).replace_extension(".pcm.wav").string());
    const std::optional<int64_t> counted = wav ? 0 : CheckContainer(file);
    if (!counted) {
      throw UserError(other.format() + ", expected wav, flac, mp3, ogg, aiff, au, caf, w64 or sph" + remedy);
    }
    try {
      return std::make_unique<SndfileSource>(path, *counted);
    } catch (const UserError &error) {
      throw UserError(other.format() + ", " + error.what() + remedy);
    }
  }
}
#else
std::unique_ptr<AudioSource> OpenAudio(const std::filesystem::path &path) {
  try {
    return OpenWav(path);
  } catch (const OtherFormat &other) {
    throw UserError(std::string(other.what()) +
                    ", or install libsndfile (Debian: libsndfile1-dev) and build the runner again");
  }
}
#endif
