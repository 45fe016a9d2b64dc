// A mask over numbers, repeated along neighbouring axes.
//
// MindSpore's product writes down 16 bytes of indices for every number of a result that repeats an operand.
//
// x of any shape, mask of the same, but 1 on neighbouring axes -> x times the mask.
#include "common.h"

extern "C" Shape MaskingInferShape(int *ndims, int64_t **shapes, AotExtra *) { return ShapeOf(0, ndims, shapes); }

extern "C" int Masking(int, void **data, int *ndims, int64_t **shapes, const char **, void *, void *) {
  const auto *x = static_cast<const float *>(data[0]), *mask = static_cast<const float *>(data[1]);
  auto *y = static_cast<float *>(data[2]);
  int first = 0, last = ndims[0];  // the axes that repeat the mask
  while (first < last && shapes[1][first] == shapes[0][first]) ++first;
  while (first < last && shapes[1][last - 1] == shapes[0][last - 1]) --last;
  if (Product(shapes[1] + first, last - first) != 1) return 1;  // MindSpore raises then
  const int64_t items = Product(shapes[0], first), repeats = Product(shapes[0] + first, last - first);
  const int64_t inner = Product(shapes[0] + last, ndims[0] - last), size = repeats * inner;
  const int64_t together = std::max<int64_t>(1, kBlock / std::max<int64_t>(1, size));  // items of a task
  Parallel((items + together - 1) / together, [&](int64_t task) {
    for (int64_t item = task * together; item < std::min(items, (task + 1) * together); ++item) {
      const float *from = x + item * size, *by = mask + item * inner;
      float *to = y + item * size;
      if (inner == 1) {
        for (int64_t i = 0; i < repeats; ++i) to[i] = from[i] * *by;
        continue;
      }
      for (int64_t repeat = 0; repeat < repeats; ++repeat, from += inner, to += inner) {
        for (int64_t i = 0; i < inner; ++i) to[i] = from[i] * by[i];
      }
    }
  });
  return 0;
}
