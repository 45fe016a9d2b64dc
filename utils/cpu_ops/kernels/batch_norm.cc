// BatchNorm in training, and its gradients: MindSpore's takes one number after another.
//
// Sums are of stretches that do not depend on the number of threads, added in their order and in double. Squares are of
// distances from one number of the channel, so that a mean far from zero takes nothing from them.
#include "norm_layer.h"

namespace {
using norm_layer::kEpsilon;
using norm_layer::kMomentum;
constexpr int64_t kStretch = 1024;

// x (N, C, ...)
struct Batch {
  int64_t items, channels, inner;

  Batch(const int64_t *shape, int ndim) : items(shape[0]), channels(shape[1]), inner(Product(shape + 2, ndim - 2)) {}

  double count() const { return static_cast<double>(items * inner); }

  // How many items a task takes.
  int64_t together() const { return std::max<int64_t>(1, kBlock / (channels * inner)); }
  int64_t tasks() const { return (items + together() - 1) / together(); }

  // Calls task(number, first item, last item), on all threads.
  template <typename Task>
  void InTasks(const Task &task) const {
    Parallel(tasks(), [&](int64_t i) { task(i, i * together(), std::min(items, (i + 1) * together())); });
  }

  // (2, C): the sums of first(i, c) and second(i, c) over all numbers i of each channel c.
  template <typename First, typename Second>
  std::vector<double> Sums(const First &first, const Second &second) const {
    std::vector<double> parts(tasks() * 2 * channels), sums(2 * channels);
    InTasks([&](int64_t number, int64_t begin, int64_t end) {
      double *one = &parts[number * 2 * channels], *two = one + channels;
      if (inner == 1) {
        std::vector<float> all(2 * channels);
        float *ones = all.data(), *twos = ones + channels;
        for (int64_t item = begin; item < end; ++item) {
          const int64_t at = item * channels;
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) {
            ones[c] += first(at + c, c);
            twos[c] += second(at + c, c);
          }
        }
        std::copy_n(ones, 2 * channels, one);
        return;
      }
      for (int64_t row = begin * channels; row < end * channels; ++row) {
        const int64_t c = row % channels, last = (row + 1) * inner;
        for (int64_t from = row * inner; from < last; from += kStretch) {
          const int64_t to = std::min(from + kStretch, last);
          float sum = 0.0f, other = 0.0f;
#pragma omp simd reduction(+ : sum, other)
          for (int64_t i = from; i < to; ++i) {
            sum += first(i, c);
            other += second(i, c);
          }
          one[c] += sum;
          two[c] += other;
        }
      }
    });
    for (int64_t i = 0; i < tasks() * 2 * channels; ++i) sums[i % (2 * channels)] += parts[i];
    return sums;
  }

  // Calls visit(i, c) for all numbers i of each channel c.
  template <typename Visit>
  void Each(const Visit &visit) const {
    InTasks([&](int64_t, int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t at = item * channels * inner;
        if (inner == 1) {
#pragma omp simd
          for (int64_t c = 0; c < channels; ++c) visit(at + c, c);
          continue;
        }
        for (int64_t c = 0; c < channels; ++c) {
#pragma omp simd
          for (int64_t s = 0; s < inner; ++s) visit(at + c * inner + s, c);
        }
      }
    });
  }
};
}  // namespace

// x (N, C, ...), gain, offset, moving mean and variance (C) -> y, the moving ones moved towards this batch (C), its
// mean and 1 / deviation (2, C).
extern "C" Shapes BatchNormInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  const int64_t channels = shapes[0][1];
  return {ShapeOf(0, ndims, shapes), {channels}, {channels}, {2, channels}};
}

extern "C" int BatchNorm(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *) {
  const Batch b(shapes[0], ndims[0]);
  const auto input = [&](int i) { return static_cast<const float *>(data[i]); };
  const auto output = [&](int i) { return static_cast<float *>(data[5 + i]); };
  const float *x = input(0), *moving_mean = input(3), *moving_variance = input(4);
  float *y = output(0), *moved_mean = output(1), *moved_variance = output(2), *statistics = output(3);
  const int64_t inner = b.inner;
  const auto distance = [=](int64_t i, int64_t c) { return x[i] - x[c * inner]; };
  const std::vector<double> sums =
      b.Sums(distance, [=](int64_t i, int64_t c) { return distance(i, c) * distance(i, c); });
  std::vector<float> scale(b.channels);
  for (int64_t c = 0; c < b.channels; ++c) {
    const double away = sums[c] / b.count(), mean = x[c * inner] + away;
    const double variance = std::max(sums[b.channels + c] / b.count() - away * away, 0.0);
    const double inverse = 1.0 / std::sqrt(variance + kEpsilon);
    const double unbiased = variance * b.count() / std::max(b.count() - 1.0, 1.0);
    moved_mean[c] = static_cast<float>(moving_mean[c] + kMomentum * (mean - moving_mean[c]));
    moved_variance[c] = static_cast<float>(moving_variance[c] + kMomentum * (unbiased - moving_variance[c]));
    statistics[c] = static_cast<float>(mean);
    statistics[b.channels + c] = static_cast<float>(inverse);
    scale[c] = static_cast<float>(input(1)[c] * inverse);
  }
  const float *mean = statistics, *factor = scale.data(), *add = input(2);
  b.Each([=](int64_t i, int64_t c) { y[i] = (x[i] - mean[c]) * factor[c] + add[c]; });
  return 0;
}

// dy, x, gain, mean and 1 / deviation -> dx, dgain, doffset.
extern "C" Shapes BatchNormGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(1, ndims, shapes), ShapeOf(2, ndims, shapes), ShapeOf(2, ndims, shapes)};
}

extern "C" int BatchNormGradient(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *) {
  const Batch b(shapes[1], ndims[1]);
  const auto *dy = static_cast<const float *>(data[0]), *x = static_cast<const float *>(data[1]),
             *gain = static_cast<const float *>(data[2]), *mean = static_cast<const float *>(data[3]);
  auto *dx = static_cast<float *>(data[4]), *dgain = static_cast<float *>(data[5]),
       *doffset = static_cast<float *>(data[6]);
  const std::vector<double> sums =
      b.Sums([=](int64_t i, int64_t) { return dy[i]; }, [=](int64_t i, int64_t c) { return dy[i] * (x[i] - mean[c]); });
  std::vector<float> scales(b.channels), adds(b.channels), factors(b.channels);
  for (int64_t c = 0; c < b.channels; ++c) {
    const double inverse = mean[b.channels + c], product = sums[b.channels + c] * inverse, scale = gain[c] * inverse;
    doffset[c] = static_cast<float>(sums[c]);
    dgain[c] = static_cast<float>(product);
    scales[c] = static_cast<float>(scale);
    adds[c] = static_cast<float>(-scale * sums[c] / b.count());
    factors[c] = static_cast<float>(-scale * inverse * product / b.count());
  }
  const float *scale = scales.data(), *add = adds.data(), *factor = factors.data();
  b.Each([=](int64_t i, int64_t c) { dx[i] = scale[c] * dy[i] + add[c] + factor[c] * (x[i] - mean[c]); });
  return 0;
}
