// Mean and variance over time, of equal weights or of the softmax of a score, and their gradients.
//
// A row of frames is read from memory once; what depends on it stays in the cache.
// x (B, C, 1, T), score (B, C, 1, T) -> mean, variance (B, C, 1, 1).
#include <cmath>

#include "common.h"

namespace {
// Calls task(row) for the rows of all items, on all threads.
template <typename Task>
void ForRows(const int64_t *x, const Task &task) {
  const int64_t rows = x[0] * x[1];
  constexpr int64_t kRows = 64;  // of a part
  Parallel((rows + kRows - 1) / kRows, [&](int64_t part) {
    for (int64_t row = part * kRows; row < std::min(rows, (part + 1) * kRows); ++row) task(row);
  });
}

Shapes MeanAndVariance(const int64_t *x) { return {{x[0], x[1], 1, 1}, {x[0], x[1], 1, 1}}; }

// The mean and, relative to it, the variance of one row; share(t) adds up to 1.
template <typename Share>
void Moments(const float *x, int64_t frames, const Share &share, float *mean, float *variance) {
  float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < frames; ++t) sum += share(t) * x[t];
#pragma omp simd reduction(+ : squares)
  for (int64_t t = 0; t < frames; ++t) squares += share(t) * (x[t] - sum) * (x[t] - sum);
  *mean = sum;
  *variance = squares;
}

// The softmax of one row.
void Softmax(const float *score, int64_t frames, float *share) {
  const float highest = *std::max_element(score, score + frames);
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < frames; ++t) {
    share[t] = Exp(score[t] - highest);
    sum += share[t];
  }
  const float scale = 1.0f / sum;
  for (int64_t t = 0; t < frames; ++t) share[t] *= scale;
}
}  // namespace

// x -> mean, variance.
extern "C" Shapes TimeStatisticsInferShape(int *, int64_t **shapes, AotExtra *) { return MeanAndVariance(shapes[0]); }

extern "C" int TimeStatistics(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const auto *x = static_cast<const float *>(data[0]);
  auto *mean = static_cast<float *>(data[1]), *variance = static_cast<float *>(data[2]);
  const int64_t frames = shapes[0][3];
  const float share = 1.0f / static_cast<float>(frames);
  ForRows(shapes[0], [&](int64_t row) {
    Moments(x + row * frames, frames, [&](int64_t) { return share; }, mean + row, variance + row);
  });
  return 0;
}

// dmean, dvariance, x, mean -> dx.
extern "C" Shape TimeStatisticsGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return ShapeOf(2, ndims, shapes);
}

extern "C" int TimeStatisticsGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  auto *dx = static_cast<float *>(data[4]);
  const int64_t frames = shapes[2][3];
  const float share = 1.0f / static_cast<float>(frames);
  ForRows(shapes[2], [&](int64_t row) {
    const float *x = in(2) + row * frames, mean = in(3)[row];
    const float by_mean = in(0)[row] * share, by_variance = 2.0f * in(1)[row] * share;
    float *to = dx + row * frames;
    for (int64_t t = 0; t < frames; ++t) to[t] = by_mean + by_variance * (x[t] - mean);
  });
  return 0;
}

// x, score -> mean, variance.
extern "C" Shapes SoftmaxStatisticsInferShape(int *, int64_t **shapes, AotExtra *) {
  return MeanAndVariance(shapes[0]);
}

extern "C" int SoftmaxStatistics(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const auto *x = static_cast<const float *>(data[0]), *score = static_cast<const float *>(data[1]);
  auto *mean = static_cast<float *>(data[2]), *variance = static_cast<float *>(data[3]);
  const int64_t frames = shapes[0][3];
  ForRows(shapes[0], [&](int64_t row) {
    const Memory share = Allocate(frames);
    Softmax(score + row * frames, frames, share.get());
    Moments(x + row * frames, frames, [&](int64_t t) { return share[t]; }, mean + row, variance + row);
  });
  return 0;
}

// dmean, dvariance, x, score, mean, variance -> dx, dscore.
extern "C" Shapes SoftmaxStatisticsGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(2, ndims, shapes), ShapeOf(3, ndims, shapes)};
}

extern "C" int SoftmaxStatisticsGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  auto *dx = static_cast<float *>(data[6]), *dscore = static_cast<float *>(data[7]);
  const int64_t frames = shapes[2][3];
  ForRows(shapes[2], [&](int64_t row) {
    const float *x = in(2) + row * frames, mean = in(4)[row], by_mean = in(0)[row], by_variance = in(1)[row];
    float *to = dx + row * frames, *by_score = dscore + row * frames;
    Softmax(in(3) + row * frames, frames, by_score);
    // what a share earns, less its mean over all: that of x is the mean, that of its square the variance
    const float level = by_variance * in(5)[row];
    for (int64_t t = 0; t < frames; ++t) {
      const float share = by_score[t], centred = x[t] - mean;
      to[t] = share * (by_mean + 2.0f * by_variance * centred);
      by_score[t] = share * (by_mean * centred + by_variance * centred * centred - level);
    }
  });
  return 0;
}
