// A dense layer whose products take bfloat16, and its gradients; of float32, MindSpore's own is as fast.
//
// x (R, I), weight (O, I), bias (O) -> y (R, O).
#include "common.h"

namespace {
// Calls task(first, count) for stretches of `size` rows, on all threads.
template <typename Task>
void InStretches(int64_t size, const Task &task) {
  const int64_t parts = std::min(size, std::max<int64_t>(Threads(), (size + 511) / 512));
  Parallel(parts, [&](int64_t part) {
    const int64_t first = size * part / parts;
    task(first, size * (part + 1) / parts - first);
  });
}
}  // namespace

extern "C" Shape DenseInferShape(int *, int64_t **shapes, AotExtra *) { return {shapes[0][0], shapes[1][0]}; }

extern "C" int Dense(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const int64_t rows = shapes[0][0], inputs = shapes[0][1], outputs = shapes[1][0];
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  auto *y = static_cast<float *>(data[3]);
  Numbers<BFloat16> own_weight;
  const BFloat16 *weight = SharedMatrix(in(1), outputs * inputs, &own_weight);
  InStretches(rows, [&](int64_t first, int64_t count) {
    Numbers<BFloat16> own;
    const BFloat16 *x = Matrix(in(0) + first * inputs, count * inputs, &own);
    for (int64_t row = first; row < first + count; ++row) std::copy_n(in(2), outputs, y + row * outputs);
    MultiplyTransposed(count, outputs, inputs, x, inputs, weight, inputs, 1.0f, y + first * outputs, outputs);
  });
  return 0;
}

// dy, x, weight -> dx, dweight, dbias.
extern "C" Shapes DenseGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(1, ndims, shapes), ShapeOf(2, ndims, shapes), {shapes[2][0]}};
}

extern "C" int DenseGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const int64_t rows = shapes[1][0], inputs = shapes[1][1], outputs = shapes[2][0];
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  const float *dy = in(0);
  auto *dx = static_cast<float *>(data[3]), *dweight = static_cast<float *>(data[4]);
  auto *dbias = static_cast<float *>(data[5]);
  Numbers<BFloat16> own_weight, own_x;
  const BFloat16 *weight = SharedMatrix(in(2), outputs * inputs, &own_weight);
  const BFloat16 *x = SharedMatrix(in(1), rows * inputs, &own_x);
  InStretches(rows, [&](int64_t first, int64_t count) {
    Numbers<BFloat16> own;
    const BFloat16 *errors = Matrix(dy + first * outputs, count * outputs, &own);
    Multiply(count, inputs, outputs, errors, outputs, weight, inputs, 0.0f, dx + first * inputs, inputs);
  });
  const auto turned = Turned<BFloat16>(dy, rows, outputs);
  InStretches(outputs, [&](int64_t first, int64_t count) {
    Multiply(count, inputs, rows, turned.get() + first * rows, rows, x, inputs, 0.0f, dweight + first * inputs, inputs);
    for (int64_t o = first; o < first + count; ++o) {
      dbias[o] = static_cast<float>(Sum(rows, [&](int64_t row) { return dy[row * outputs + o]; }));
    }
  });
  return 0;
}
