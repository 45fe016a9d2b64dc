// An LSTM layer over time in both directions, summed, and its gradients; gates in the order i, f, g, o, as PyTorch's.
//
// Each direction has a thread of its own, so that no thread waits for another between the steps. What depends on the
// input alone is one large product before them; so are the gradients of input and weights after them.
//
// x (T, B, I), frames (B) int32, and of either direction weights (4 H, I), (4 H, H) and bias (4 H) -> sum (T, B, H);
// and for the gradients, of either direction (2, ...), hidden (T, B, H), cells (T, B, H), gates (T, B, 4 H).
// The way back begins at the last frame of each item; frames after that have no meaning.
#include <cmath>
#include <cstring>

#include "common.h"

namespace {
constexpr int64_t kUnits = 8;  // of a block: their weights of one gate fill an AVX register
typedef float Vector __attribute__((vector_size(kUnits * sizeof(float))));

inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }
inline float Tanh(float x) { return 2.0f * Sigmoid(2.0f * x) - 1.0f; }

// A matrix (k, n) in blocks of kUnits columns, each (k, kUnits) in a piece, zeros beyond n. `at` gives its numbers.
template <typename At>
Memory Pack(int64_t k, int64_t n, const At &at) {
  Memory packed = Allocate((n + kUnits - 1) / kUnits * kUnits * k);
  float *to = packed.get();
  for (int64_t first = 0; first < n; first += kUnits) {
    for (int64_t row = 0; row < k; ++row) {
      for (int64_t u = 0; u < kUnits; ++u) *to++ = first + u < n ? at(row, first + u) : 0.0f;
    }
  }
  return packed;
}

// z (Rows, kUnits) = a (Rows, k) times a packed block (k, kUnits). The sums stay in registers.
template <int Rows>
inline void BlockProduct(const float *a, int64_t k, const float *block, float *z) {
  Vector sum[Rows] = {};
  for (int64_t i = 0; i < k; ++i) {
    Vector weight;
    std::memcpy(&weight, block + i * kUnits, sizeof(weight));
#pragma GCC unroll 8
    for (int row = 0; row < Rows; ++row) sum[row] += a[row * k + i] * weight;
  }
  std::memcpy(z, sum, sizeof(sum));
}

void BlockProduct(int64_t rows, const float *a, int64_t k, const float *block, float *z) {
  for (; rows >= 8; rows -= 8, a += 8 * k, z += 8 * kUnits) BlockProduct<8>(a, k, block, z);
  for (; rows >= 4; rows -= 4, a += 4 * k, z += 4 * kUnits) BlockProduct<4>(a, k, block, z);
  for (; rows >= 1; rows -= 1, a += k, z += kUnits) BlockProduct<1>(a, k, block, z);
}

struct Layer {
  int64_t steps, batch, inputs, units;
  const int32_t *frames;

  Layer(const int64_t *x, const int64_t *w_h, const void *frames)
      : steps(x[0]), batch(x[1]), inputs(x[2]), units(w_h[1]), frames(static_cast<const int32_t *>(frames)) {}

  int64_t rows() const { return steps * batch; }
  int64_t size() const { return rows() * units; }
  int64_t width() const { return 4 * units; }
  int64_t blocks() const { return (units + kUnits - 1) / kUnits; }

  // The row (t, b) that is step `step` of item b in a direction.
  int64_t Row(int64_t direction, int64_t step, int64_t b) const {
    return (direction && step < frames[b] ? frames[b] - 1 - step : step) * batch + b;
  }

  // Calls task(direction, first row, rows) for stretches of the rows of a large product, on all threads.
  template <typename Task>
  void InRows(int64_t count, const Task &task) const {
    const int64_t parts = std::max<int64_t>((Threads() + 1) / 2, (count + 511) / 512);
    Parallel(2 * parts, [&](int64_t i) {
      const int64_t part = i / 2, first = count * part / parts;
      task(i % 2, first, count * (part + 1) / parts - first);
    });
  }
};

// The steps of one direction; gates hold what the input adds to them, and then the gates.
void Forward(const Layer &l, int64_t direction, const float *w_h, float *hidden, float *cells, float *gates) {
  const int64_t units = l.units, all = l.batch * kUnits;
  Memory packed[4];
  for (int64_t gate = 0; gate < 4; ++gate) {
    packed[gate] = Pack(units, units, [&](int64_t k, int64_t u) { return w_h[(gate * units + u) * units + k]; });
  }
  const Memory h = Allocate(l.batch * units), c = Allocate(l.batch * units), z = Allocate(4 * all);
  const Memory next = Allocate(l.batch * units);
  std::fill_n(h.get(), l.batch * units, 0.0f);
  std::fill_n(c.get(), l.batch * units, 0.0f);
  for (int64_t step = 0; step < l.steps; ++step) {
    for (int64_t block = 0; block < l.blocks(); ++block) {
      const int64_t first = block * kUnits, count = std::min(kUnits, units - first);
      for (int64_t gate = 0; gate < 4; ++gate) {
        BlockProduct(l.batch, h.get(), units, packed[gate].get() + first * units, z.get() + gate * all);
      }
      for (int64_t b = 0; b < l.batch; ++b) {
        const int64_t row = l.Row(direction, step, b);
        float *gate = gates + row * l.width() + first, *cell = c.get() + b * units + first;
        float *after = next.get() + b * units + first;
        const float *sum = z.get() + b * kUnits;
#pragma omp simd
        for (int64_t u = 0; u < count; ++u) {
          const float i = Sigmoid(gate[u] + sum[u]), f = Sigmoid(gate[units + u] + sum[all + u]);
          const float g = Tanh(gate[2 * units + u] + sum[2 * all + u]);
          const float o = Sigmoid(gate[3 * units + u] + sum[3 * all + u]);
          gate[u] = i;
          gate[units + u] = f;
          gate[2 * units + u] = g;
          gate[3 * units + u] = o;
          cell[u] = f * cell[u] + i * g;
          after[u] = o * Tanh(cell[u]);
        }
      }
    }
    for (int64_t b = 0; b < l.batch; ++b) {
      const int64_t row = l.Row(direction, step, b);
      std::copy_n(c.get() + b * units, units, cells + row * units);
      std::copy_n(next.get() + b * units, units, hidden + row * units);
    }
    std::copy_n(next.get(), l.batch * units, h.get());
  }
}

// Gradients of the gates of one direction, d (T, B, 4 H), by the steps backwards.
void Backward(const Layer &l, int64_t direction, const float *dy, const float *w_h, const float *cells,
              const float *gates, float *d) {
  const int64_t units = l.units, width = l.width();
  const Memory packed = Pack(width, units, [&](int64_t k, int64_t u) { return w_h[k * units + u]; });
  const Memory dh = Allocate(l.batch * units), dc = Allocate(l.batch * units), z = Allocate(l.batch * kUnits);
  const Memory now = Allocate(l.batch * width);
  std::fill_n(dh.get(), l.batch * units, 0.0f);
  std::fill_n(dc.get(), l.batch * units, 0.0f);
  const std::vector<float> nothing(units);
  for (int64_t step = l.steps - 1; step >= 0; --step) {
    for (int64_t b = 0; b < l.batch; ++b) {
      const int64_t row = l.Row(direction, step, b);
      const float *gate = gates + row * width, *cell = cells + row * units, *error = dy + row * units;
      const float *before = step ? cells + l.Row(direction, step - 1, b) * units : nothing.data();
      float *to = now.get() + b * width, *by_hidden = dh.get() + b * units, *by_cell = dc.get() + b * units;
#pragma omp simd
      for (int64_t u = 0; u < units; ++u) {
        const float i = gate[u], f = gate[units + u], g = gate[2 * units + u], o = gate[3 * units + u];
        const float bent = Tanh(cell[u]), by_h = by_hidden[u] + error[u];
        const float by_c = by_cell[u] + by_h * o * (1.0f - bent * bent);
        to[u] = by_c * g * i * (1.0f - i);
        to[units + u] = by_c * before[u] * f * (1.0f - f);
        to[2 * units + u] = by_c * i * (1.0f - g * g);
        to[3 * units + u] = by_h * bent * o * (1.0f - o);
        by_cell[u] = by_c * f;
      }
      std::copy_n(to, width, d + row * width);
    }
    for (int64_t block = 0; block < l.blocks(); ++block) {
      const int64_t first = block * kUnits;
      BlockProduct(l.batch, now.get(), width, packed.get() + first * width, z.get());
      for (int64_t b = 0; b < l.batch; ++b) {
        std::copy_n(z.get() + b * kUnits, std::min(kUnits, units - first), dh.get() + b * units + first);
      }
    }
  }
}
}  // namespace

extern "C" Shapes BothDirectionsInferShape(int *, int64_t **shapes, AotExtra *) {
  const int64_t steps = shapes[0][0], batch = shapes[0][1], units = shapes[3][1];
  return {{steps, batch, units}, {2, steps, batch, units}, {2, steps, batch, units}, {2, steps, batch, 4 * units}};
}

extern "C" int BothDirections(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const Layer l(shapes[0], shapes[3], data[1]);
  const auto input = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  const auto output = [&](int64_t i) { return static_cast<float *>(data[8 + i]); };
  float *y = output(0), *hidden = output(1), *cells = output(2), *gates = output(3);
  l.InRows(l.rows(), [&](int64_t direction, int64_t first, int64_t rows) {
    const float *w_x = input(2 + 3 * direction), *bias = input(4 + 3 * direction);
    float *to = gates + (direction * l.rows() + first) * l.width();
    for (int64_t row = 0; row < rows; ++row) std::copy_n(bias, l.width(), to + row * l.width());
    MultiplyTransposed(rows, l.width(), l.inputs, input(0) + first * l.inputs, l.inputs, w_x, l.inputs, 1.0f, to,
                       l.width());
  });
  Parallel(2, [&](int64_t direction) {
    Forward(l, direction, input(3 + 3 * direction), hidden + direction * l.size(), cells + direction * l.size(),
            gates + direction * l.rows() * l.width());
  });
  InBlocks(l.size(), [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y[i] = hidden[i] + hidden[l.size() + i];
  });
  return 0;
}

// dy, then what BothDirections takes, then hidden, cells, gates -> dx, and of either direction dw_x, dw_h, dbias.
extern "C" Shapes BothDirectionsGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  Shapes result = {ShapeOf(1, ndims, shapes)};
  for (int i = 3; i < 9; ++i) result.push_back(ShapeOf(i, ndims, shapes));
  return result;
}

extern "C" int BothDirectionsGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *) {
  const Layer l(shapes[1], shapes[4], data[2]);
  const auto input = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  const auto output = [&](int64_t i) { return static_cast<float *>(data[12 + i]); };
  const float *dy = input(0), *x = input(1), *hidden = input(9), *cells = input(10), *gates = input(11);
  const int64_t rows = l.rows(), width = l.width(), units = l.units, inputs = l.inputs;
  const Memory d = Allocate(2 * rows * width);
  Parallel(2, [&](int64_t direction) {
    Backward(l, direction, dy, input(4 + 3 * direction), cells + direction * l.size(), gates + direction * rows * width,
             d.get() + direction * rows * width);
  });
  // hidden one step before, for the weights between steps
  const Memory before = Allocate(2 * l.size());
  l.InRows(l.steps, [&](int64_t direction, int64_t first, int64_t steps) {
    for (int64_t step = first; step < first + steps; ++step) {
      for (int64_t b = 0; b < l.batch; ++b) {
        float *to = before.get() + direction * l.size() + l.Row(direction, step, b) * units;
        if (step == 0) {
          std::fill_n(to, units, 0.0f);
        } else {
          std::copy_n(hidden + direction * l.size() + l.Row(direction, step - 1, b) * units, units, to);
        }
      }
    }
  });
  const Memory turned = Allocate(2 * width * rows);  // dnnl_sgemm takes twice as long to read a transpose
  l.InRows(width, [&](int64_t direction, int64_t first, int64_t height) {
    const float *from = d.get() + direction * rows * width + first;
    float *part = turned.get() + (direction * width + first) * rows;
    for (int64_t begin = 0; begin < rows; begin += kUnits) {
      for (int64_t row = 0; row < height; ++row) {
        for (int64_t i = begin; i < std::min(begin + kUnits, rows); ++i) part[row * rows + i] = from[i * width + row];
      }
    }
    Multiply(height, inputs, rows, part, rows, x, inputs, 0.0f, output(1 + 3 * direction) + first * inputs, inputs);
    Multiply(height, units, rows, part, rows, before.get() + direction * l.size(), units, 0.0f,
             output(2 + 3 * direction) + first * units, units);
    float *dbias = output(3 + 3 * direction) + first;
    for (int64_t row = 0; row < height; ++row) {
      dbias[row] = static_cast<float>(Sum(rows, [&](int64_t i) { return part[row * rows + i]; }));
    }
  });
  const int64_t parts = std::max<int64_t>(Threads(), (rows + 511) / 512);
  Parallel(parts, [&](int64_t part) {
    const int64_t first = rows * part / parts, height = rows * (part + 1) / parts - first;
    for (int64_t direction = 0; direction < 2; ++direction) {
      Multiply(height, inputs, width, d.get() + (direction * rows + first) * width, width, input(3 + 3 * direction),
               inputs, static_cast<float>(direction), output(0) + first * inputs, inputs);
    }
  });
  return 0;
}
