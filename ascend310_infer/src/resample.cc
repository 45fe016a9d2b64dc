#include "resample.h"

#ifdef HAS_SOXR
#include <soxr.h>
#endif

#include <stdexcept>
#include <string>

#include "error.h"

#ifdef HAS_SOXR
Resampler::Resampler(int64_t from, int64_t to, size_t channels) : from_(from), to_(to), channels_(channels) {
  if (from == to) {
    return;
  }
  soxr_error_t error = nullptr;
  const soxr_io_spec_t samples = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
  soxr_t soxr = soxr_create(static_cast<double>(from), static_cast<double>(to), static_cast<unsigned>(channels), &error,
                            &samples, &quality, &runtime);
  if (error != nullptr) {
    throw std::runtime_error(std::string("libsoxr: ") + soxr_strerror(error));
  }
  soxr_ = std::shared_ptr<void>(soxr, [](void *object) { soxr_delete(static_cast<soxr_t>(object)); });
}

// `samples` nullptr: there are no more.
std::vector<float> Resampler::Process(const float *samples, size_t frames) {
  std::vector<float> result;
  const size_t room =
      static_cast<size_t>(static_cast<double>(frames) * static_cast<double>(to_) / static_cast<double>(from_)) + 4096;
  for (size_t taken = 0;;) {
    const size_t start = result.size();
    result.resize(start + room * channels_);
    size_t used = 0;
    size_t made = 0;
    const soxr_error_t error =
        soxr_process(static_cast<soxr_t>(soxr_.get()), samples == nullptr ? nullptr : samples + taken * channels_,
                     frames - taken, &used, result.data() + start, room, &made);
    if (error != nullptr) {
      throw std::runtime_error(std::string("libsoxr: ") + soxr_strerror(error));
    }
    taken += used;
    result.resize(start + made * channels_);
    if (made < room && taken == frames) {
      return result;
    }
  }
}
#else
Resampler::Resampler(int64_t from, int64_t to, size_t channels) : from_(from), to_(to), channels_(channels) {
  if (from != to) {
    throw UserError(std::to_string(from) + " Hz, but the graph takes " + std::to_string(to) +
                    " Hz, and this program is built without libsoxr; resample it (ffmpeg's -ar " + std::to_string(to) +
                    "), or install libsoxr (Debian: libsoxr-dev) and build the runner again");
  }
}

std::vector<float> Resampler::Process(const float *, size_t) { return {}; }
#endif

std::vector<float> Resampler::Push(const std::vector<float> &samples) {
  if (from_ == to_ || samples.empty()) {
    return samples;
  }
  return Process(samples.data(), samples.size() / channels_);
}

std::vector<float> Resampler::Finish() { return from_ == to_ ? std::vector<float>() : Process(nullptr, 0); }
