// The norm over all channels and frames of an item (global layer norm), and its gradients.
//
// One pass over the numbers for the statistics and one for the result; sums in double, of each row on its own and then
// in the order of the rows, so that the number of threads changes nothing.
#include "common.h"

// x (B, C, T), gain (1, C, 1), bias (1, C, 1), mask (B, 1, T) of the frames that count -> y (B, C, T), mean and
// 1 / deviation of each item (B, 2).
extern "C" Shapes GlobalNormInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(0, ndims, shapes), {shapes[0][0], 2}};
}

extern "C" int GlobalNorm(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const int64_t batch = shapes[0][0], channels = shapes[0][1], frames = shapes[0][2];
  const auto *x = static_cast<const float *>(data[0]), *gain = static_cast<const float *>(data[1]),
             *bias = static_cast<const float *>(data[2]);
  const std::vector<float> shares = Shares(static_cast<const float *>(data[3]), batch, frames);
  auto *y = static_cast<float *>(data[4]), *statistics = static_cast<float *>(data[5]);
  std::vector<double> sums(batch * channels), squares(batch * channels);
  Parallel(batch * channels, [&](int64_t row) {
    const float *from = x + row * frames, *share = &shares[row / channels * frames];
    sums[row] = Sum(frames, [&](int64_t t) { return static_cast<double>(share[t]) * from[t]; });
    squares[row] = Sum(frames, [&](int64_t t) { return static_cast<double>(share[t]) * from[t] * from[t]; });
  });
  for (int64_t b = 0; b < batch; ++b) {
    const auto begin = b * channels, end = begin + channels;
    const double mean = std::accumulate(&sums[begin], &sums[end], 0.0) / channels;
    const double variance = std::accumulate(&squares[begin], &squares[end], 0.0) / channels - mean * mean;
    statistics[2 * b] = static_cast<float>(mean);
    statistics[2 * b + 1] = InverseDeviation(variance);
  }
  Parallel(batch * channels, [&](int64_t row) {
    const float *from = x + row * frames, mean = statistics[row / channels * 2];
    const float scale = gain[row % channels] * statistics[row / channels * 2 + 1], add = bias[row % channels];
    float *to = y + row * frames;
    for (int64_t t = 0; t < frames; ++t) to[t] = (from[t] - mean) * scale + add;
  });
  return 0;
}

// dy, x, gain, mask, statistics -> dx, dgain, dbias.
extern "C" Shapes GlobalNormGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(1, ndims, shapes), ShapeOf(2, ndims, shapes), ShapeOf(2, ndims, shapes)};
}

extern "C" int GlobalNormGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const int64_t batch = shapes[1][0], channels = shapes[1][1], frames = shapes[1][2];
  const auto *dy = static_cast<const float *>(data[0]), *x = static_cast<const float *>(data[1]),
             *gain = static_cast<const float *>(data[2]), *statistics = static_cast<const float *>(data[4]);
  const std::vector<float> shares = Shares(static_cast<const float *>(data[3]), batch, frames);
  auto *dx = static_cast<float *>(data[5]), *dgain = static_cast<float *>(data[6]),
       *dbias = static_cast<float *>(data[7]);
  std::vector<double> sums(batch * channels), products(batch * channels);  // of dy, and of dy times normalised x
  Parallel(batch * channels, [&](int64_t row) {
    const float *from = x + row * frames, *d = dy + row * frames, *statistic = statistics + row / channels * 2;
    const float mean = statistic[0];
    sums[row] = Sum(frames, [&](int64_t t) { return static_cast<double>(d[t]); });
    products[row] = statistic[1] * Sum(frames, [&](int64_t t) { return static_cast<double>(d[t]) * (from[t] - mean); });
  });
  std::vector<double> by_mean(batch), by_scale(batch);
  for (int64_t c = 0; c < channels; ++c) {
    double add = 0.0, scale = 0.0;
    for (int64_t b = 0; b < batch; ++b) {
      add += sums[b * channels + c];
      scale += products[b * channels + c];
      by_mean[b] += gain[c] * sums[b * channels + c] / channels;
      by_scale[b] += gain[c] * products[b * channels + c] / channels;
    }
    dbias[c] = static_cast<float>(add);
    dgain[c] = static_cast<float>(scale);
  }
  Parallel(batch * channels, [&](int64_t row) {
    const int64_t b = row / channels;
    const float *from = x + row * frames, *d = dy + row * frames, *share = &shares[b * frames];
    const float mean = statistics[2 * b], scale = statistics[2 * b + 1], factor = gain[row % channels];
    const float first = static_cast<float>(by_mean[b]), second = static_cast<float>(by_scale[b]) * scale;
    float *to = dx + row * frames;
    for (int64_t t = 0; t < frames; ++t) {
      to[t] = scale * (factor * d[t] - share[t] * (first + second * (from[t] - mean)));
    }
  });
  return 0;
}
