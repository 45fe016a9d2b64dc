// A convolution over time with one filter per channel, and its gradients.
//
// x (B, C, 1, T), weight (C, 1, 1, taps) -> y (B, C, 1, T + left + right - (taps - 1) dilation).
// settings: dilation, zeros to the left and to the right.
#include "common.h"

namespace {
struct Filter {
  int64_t batch, channels, frames, taps, dilation, left, after;

  Filter(const int64_t *x, const int64_t *weight, const std::vector<int64_t> &settings)
      : batch(x[0]),
        channels(x[1]),
        frames(x[3]),
        taps(weight[3]),
        dilation(settings[0]),
        left(settings[1]),
        after(frames + left + settings[2] - (taps - 1) * dilation) {}

  // Calls visit(first, last, offset) for the results [first, last) that tap k takes from x[t + offset].
  template <typename Visit>
  void Reach(int64_t k, const Visit &visit) const {
    const int64_t offset = k * dilation - left;
    const int64_t first = std::clamp<int64_t>(-offset, 0, after);
    visit(first, std::clamp<int64_t>(frames - offset, first, after), offset);
  }
};
}  // namespace

extern "C" Shape DepthwiseInferShape(int *, int64_t **shapes, AotExtra *extra) {
  const auto settings = Settings(extra);
  const int64_t frames = shapes[0][3];
  return {shapes[0][0], shapes[0][1], 1,
          frames < 0 ? -1 : frames + settings[1] + settings[2] - (shapes[1][3] - 1) * settings[0]};
}

extern "C" int Depthwise(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  const Filter f(shapes[0], shapes[1], Settings(extra));
  const auto *x = static_cast<const float *>(data[0]), *weight = static_cast<const float *>(data[1]);
  auto *y = static_cast<float *>(data[2]);
  Parallel(f.batch * f.channels, [&](int64_t row) {
    const float *from = x + row * f.frames, *filter = weight + row % f.channels * f.taps;
    float *to = y + row * f.after;
    std::fill_n(to, f.after, 0.0f);
    for (int64_t k = 0; k < f.taps; ++k) {
      f.Reach(k, [&](int64_t first, int64_t last, int64_t offset) {
        const float value = filter[k];
        for (int64_t t = first; t < last; ++t) to[t] += value * from[t + offset];
      });
    }
  });
  return 0;
}

// dy, x, weight -> dx, dweight.
extern "C" Shapes DepthwiseGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(1, ndims, shapes), ShapeOf(2, ndims, shapes)};
}

extern "C" int DepthwiseGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  const Filter f(shapes[1], shapes[2], Settings(extra));
  const auto *dy = static_cast<const float *>(data[0]), *x = static_cast<const float *>(data[1]),
             *weight = static_cast<const float *>(data[2]);
  auto *dx = static_cast<float *>(data[3]), *dweight = static_cast<float *>(data[4]);
  Parallel(f.channels, [&](int64_t channel) {
    const float *filter = weight + channel * f.taps;
    std::vector<double> sums(f.taps);
    for (int64_t b = 0; b < f.batch; ++b) {
      const int64_t row = b * f.channels + channel;
      const float *d = dy + row * f.after, *from = x + row * f.frames;
      float *to = dx + row * f.frames;
      std::fill_n(to, f.frames, 0.0f);
      for (int64_t k = 0; k < f.taps; ++k) {
        f.Reach(k, [&](int64_t first, int64_t last, int64_t offset) {
          const float value = filter[k];
          for (int64_t t = first; t < last; ++t) to[t + offset] += value * d[t];
          float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
          for (int64_t t = first; t < last; ++t) sum += d[t] * from[t + offset];
          sums[k] += sum;
        });
      }
    }
    for (int64_t k = 0; k < f.taps; ++k) dweight[channel * f.taps + k] = static_cast<float>(sums[k]);
  });
  return 0;
}
