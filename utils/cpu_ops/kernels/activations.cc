// PReLU and clipped ReLU of numbers in any shape, and their gradients.
#include "common.h"

// x of any shape, slope (1) -> x where positive, else slope x.
extern "C" Shape PReluInferShape(int *ndims, int64_t **shapes, AotExtra *) { return ShapeOf(0, ndims, shapes); }

extern "C" int PRelu(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *) {
  const auto *x = static_cast<const float *>(data[0]);
  const float slope = *static_cast<const float *>(data[1]);
  auto *y = static_cast<float *>(data[2]);
  InBlocks(Product(shapes[0], ndims[0]), [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y[i] = ParametricRelu(x[i], slope);
  });
  return 0;
}

// dy, x, slope -> dx, dslope.
extern "C" Shapes PReluGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(1, ndims, shapes), {1}};
}

extern "C" int PReluGradient(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *) {
  const auto *dy = static_cast<const float *>(data[0]), *x = static_cast<const float *>(data[1]);
  const float slope = *static_cast<const float *>(data[2]);
  auto *dx = static_cast<float *>(data[3]);
  const int64_t size = Product(shapes[1], ndims[1]);
  std::vector<double> sums(Blocks(size));
  InBlocks(size, [&](int64_t block, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) dx[i] = dy[i] * (x[i] > 0.0f ? 1.0f : slope);
    sums[block] = Sum(last - first, [&](int64_t i) { return std::min(x[first + i], 0.0f) * dy[first + i]; });
  });
  *static_cast<float *>(data[4]) = static_cast<float>(std::accumulate(sums.begin(), sums.end(), 0.0));
  return 0;
}

// x -> x between 0 and the ceiling. settings: the ceiling.
extern "C" Shape ClippedReluInferShape(int *ndims, int64_t **shapes, AotExtra *) { return ShapeOf(0, ndims, shapes); }

extern "C" int ClippedRelu(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *extra) {
  const auto *x = static_cast<const float *>(data[0]);
  const auto ceiling = static_cast<float>(Settings(extra)[0]);
  auto *y = static_cast<float *>(data[1]);
  InBlocks(Product(shapes[0], ndims[0]), [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y[i] = std::min(std::max(x[i], 0.0f), ceiling);
  });
  return 0;
}

// dy, x -> dx.
extern "C" Shape ClippedReluGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return ShapeOf(1, ndims, shapes);
}

extern "C" int ClippedReluGradient(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *extra) {
  const auto *dy = static_cast<const float *>(data[0]), *x = static_cast<const float *>(data[1]);
  const auto ceiling = static_cast<float>(Settings(extra)[0]);
  auto *dx = static_cast<float *>(data[2]);
  InBlocks(Product(shapes[1], ndims[1]), [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) dx[i] = x[i] >= 0.0f && x[i] <= ceiling ? dy[i] : 0.0f;
  });
  return 0;
}
