// Samples at another rate, by libsoxr as Python's soxr does it.
#ifndef ASCEND310_INFER_INC_RESAMPLE_H_
#define ASCEND310_INFER_INC_RESAMPLE_H_

#include <cstdint>
#include <memory>
#include <vector>

// A stream of samples, of all channels at one time together, as if it were resampled in one piece.
class Resampler {
 public:
  // Rates in Hz. UserError where they differ and the program is built without libsoxr.
  Resampler(int64_t from, int64_t to, size_t channels);

  // What is known of the resampled stream after these samples.
  std::vector<float> Push(const std::vector<float> &samples);

  // The rest, after which nothing may be pushed.
  std::vector<float> Finish();

 private:
  std::vector<float> Process(const float *samples, size_t frames);

  int64_t from_;
  int64_t to_;
  size_t channels_;
  std::shared_ptr<void> soxr_;  // none where the rates are the same
};

#endif  // ASCEND310_INFER_INC_RESAMPLE_H_
