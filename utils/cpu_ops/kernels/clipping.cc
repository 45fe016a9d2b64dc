// All gradients of a step at once: hundreds of operators with a few numbers each cost more than what they compute.
//
// factor (), limit (), gradients of any shapes -> factor * gradients, and their norm (1,). Where that is above `limit`,
// unless this is 0, the gradients are times limit / norm too. `settings`: how many gradients.
#include "common.h"

extern "C" Shapes ClippingInferShape(int *ndims, int64_t **shapes, AotExtra *extra) {
  Shapes all;
  for (int64_t i = 0; i < Settings(extra)[0]; ++i) all.push_back(ShapeOf(static_cast<int>(i) + 2, ndims, shapes));
  all.push_back({1});
  return all;
}

extern "C" int Clipping(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *extra) {
  const int64_t count = Settings(extra)[0];
  const float factor = *static_cast<const float *>(data[0]), limit = *static_cast<const float *>(data[1]);
  const auto size_of = [&](int64_t i) { return Product(shapes[i + 2], ndims[i + 2]); };
  double energy = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const auto *gradient = static_cast<const float *>(data[i + 2]);
    std::vector<double> parts(Blocks(size_of(i)));
    InBlocks(size_of(i), [&](int64_t block, int64_t first, int64_t last) {
      parts[block] = Sum(last - first, [&](int64_t j) { return double{gradient[first + j]} * gradient[first + j]; });
    });
    energy += std::accumulate(parts.begin(), parts.end(), 0.0);
  }
  const float norm = factor * static_cast<float>(std::sqrt(energy));
  const float scale = limit > 0 ? factor * std::min(limit / (norm + 1e-6f), 1.0f) : factor;
  for (int64_t i = 0; i < count; ++i) {
    const auto *gradient = static_cast<const float *>(data[i + 2]);
    auto *clipped = static_cast<float *>(data[count + i + 2]);
    InBlocks(size_of(i), [&](int64_t, int64_t first, int64_t last) {
      for (int64_t j = first; j < last; ++j) clipped[j] = scale * gradient[j];
    });
  }
  *static_cast<float *>(data[2 * count + 2]) = norm;
  return 0;
}
