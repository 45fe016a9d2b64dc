// An LSTM layer over time, forward or in both directions, summed, and its gradients; gates in the order i, f, g, o, as
// PyTorch's.
//
// Each direction, and of it each few items, has a thread of its own, so that no thread waits for another between the
// steps. What depends on the input alone is one large product before them; so are the gradients of input and weights
// after them.
//
// x (T, B, I), for both directions frames (B) int32, and of each direction weights (4 H, I), (4 H, H) and bias (4 H)
// -> sum (T, B, H); and for the gradients, of each direction (D, ...), hidden (T, B, H), cells (T, B, H), gates
// (T, B, 4 H). The way back begins at the last frame of each item; frames after that have no meaning.
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cmath>
#include <cstring>

#include "common.h"

namespace {
#ifdef __AVX512F__
constexpr int64_t kUnits = 16;
#else
constexpr int64_t kUnits = 8;
#endif
constexpr int64_t kBlocks = 4;                  // of a panel, which are multiplied by the same numbers
constexpr int64_t kColumns = kBlocks * kUnits;  // of a panel
// Of a block: its units' weights of one gate, or pairs of them, fill a register.
typedef float Vector __attribute__((vector_size(kUnits * sizeof(float))));
typedef uint32_t Pairs __attribute__((vector_size(kUnits * sizeof(uint32_t))));

inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }
inline float Tanh(float x) { return 2.0f * Sigmoid(2.0f * x) - 1.0f; }

// How many rows of a matrix stand side by side in a block: a register holds one row of floats, or two of bfloat16.
template <typename Number>
constexpr int64_t kTogether = sizeof(float) / sizeof(Number);

template <typename Number>
int64_t Padded(int64_t rows) {
  return (rows + kTogether<Number> - 1) / kTogether<Number> * kTogether<Number>;
}

// Columns of a matrix (k, columns), at most kUnits, as a block (padded k / together, kUnits, together); zeros beyond k
// and `columns`. `at` gives its numbers.
template <typename Number, typename At>
void PackBlock(int64_t k, int64_t columns, Number *to, const At &at) {
  for (int64_t begin = 0; begin < k; begin += kTogether<Number>) {
    for (int64_t u = 0; u < kUnits; ++u) {
      for (int64_t row = begin; row < begin + kTogether<Number>; ++row) {
        *to++ = Rounded<Number>(row < k && u < columns ? at(row, u) : 0.0f);
      }
    }
  }
}

// sum + a times the weights of kUnits units.
inline Vector AddProduct(Vector sum, const float *a, const float *weights) {
  Vector weight;
  std::memcpy(&weight, weights, sizeof(weight));
  return sum + *a * weight;
}
inline Vector AddProduct(Vector sum, const BFloat16 *a, const BFloat16 *weights) {
  uint32_t pair;
  Pairs weight;
  std::memcpy(&pair, a, sizeof(pair));
  std::memcpy(&weight, weights, sizeof(weight));
#ifdef __AVX512BF16__
  return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)weight);
#else
  const uint32_t halves[] = {pair << 16, pair & 0xffff0000};
  float numbers[2];
  std::memcpy(numbers, halves, sizeof(numbers));
  return sum + numbers[0] * (Vector)(weight << 16) + numbers[1] * (Vector)(weight & 0xffff0000);
#endif
}

// z (Blocks, all rows, kUnits) = a (Rows, k) times packed blocks; k is a padded one. The sums stay in registers, and
// with eight of them, or four, none waits for the addition before, which takes four cycles.
template <int Rows, int Blocks, typename Number>
inline void BlockProduct(int64_t rows, const Number *a, int64_t k, const Number *block, float *z) {
  Vector sum[Blocks][Rows] = {};
  for (int64_t i = 0; i < k; i += kTogether<Number>) {
#pragma GCC unroll 4
    for (int side = 0; side < Blocks; ++side) {
#pragma GCC unroll 8
      for (int row = 0; row < Rows; ++row) {
        sum[side][row] = AddProduct(sum[side][row], a + row * k + i, block + (side * k + i) * kUnits);
      }
    }
  }
  for (int side = 0; side < Blocks; ++side) std::memcpy(z + side * rows * kUnits, sum[side], sizeof(sum[side]));
}

// As many rows as there are whole `Rows` of, from `*first` on.
template <int Rows, typename Number>
void PanelRows(int64_t rows, const Number *a, int64_t k, const Number *panel, float *z, int64_t *first) {
  constexpr int kSide = std::min<int>(kBlocks, 8 / Rows);
  for (; rows - *first >= Rows; *first += Rows) {
    for (int64_t block = 0; block < kBlocks; block += kSide) {
      BlockProduct<Rows, kSide>(rows, a + *first * k, k, panel + block * k * kUnits,
                                z + (block * rows + *first) * kUnits);
    }
  }
}

// The tiles of a processor with AMX, which multiply up to kRows rows at once. A thread has them for as long as one of
// these lives; without AMX, and for floats, none has.
template <typename Number>
struct Tiles {
  explicit Tiles(int64_t) {}
  bool Take(int64_t, const Number *, int64_t, const Number *, float *) const { return false; }
};

#ifdef __AMX_BF16__
template <>
struct Tiles<BFloat16> {
  static constexpr int64_t kRows = 16, kPairs = 16;  // of a tile, and the pairs of numbers in each of its rows

  explicit Tiles(int64_t rows) : rows_(std::min(rows, kRows)), usable_(Permitted()) {
    if (!usable_) return;
    struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } layout;
    for (int tile = 0; tile < 6; ++tile) {  // four sums, a part of a, a part of a block
      layout.bytes[tile] = kPairs * sizeof(float);
      layout.rows[tile] = static_cast<uint8_t>(tile < 5 ? rows_ : kPairs);
    }
    _tile_loadconfig(&layout);
  }
  ~Tiles() {
    if (usable_) _tile_release();
  }
  Tiles(const Tiles &) = delete;
  Tiles &operator=(const Tiles &) = delete;

  // PanelProduct of the rows that were announced, if tiles can do it.
  bool Take(int64_t rows, const BFloat16 *a, int64_t k, const BFloat16 *panel, float *z) const {
    static_assert(kBlocks == 4 && kUnits == 16, "a tile of sums for each block, a row of it for the units");
    if (!usable_ || rows != rows_ || k % (2 * kPairs)) return false;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < k; i += 2 * kPairs) {
      const BFloat16 *part = panel + i * kUnits;
      constexpr int64_t kStride = kPairs * sizeof(float);
      _tile_loadd(4, a + i, k * sizeof(BFloat16));
      _tile_loadd(5, part, kStride);
      _tile_dpbf16ps(0, 4, 5);
      _tile_loadd(5, part + k * kUnits, kStride);
      _tile_dpbf16ps(1, 4, 5);
      _tile_loadd(5, part + 2 * k * kUnits, kStride);
      _tile_dpbf16ps(2, 4, 5);
      _tile_loadd(5, part + 3 * k * kUnits, kStride);
      _tile_dpbf16ps(3, 4, 5);
    }
    constexpr int64_t kStride = kUnits * sizeof(float);
    _tile_stored(0, z, kStride);
    _tile_stored(1, z + rows * kUnits, kStride);
    _tile_stored(2, z + 2 * rows * kUnits, kStride);
    _tile_stored(3, z + 3 * rows * kUnits, kStride);
    return true;
  }

 private:
  // Linux gives the registers to processes that ask for them.
  static bool Permitted() {
    constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    static const bool permitted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
    return permitted;
  }

  int64_t rows_;
  bool usable_;
};
#endif

// z (kBlocks, rows, kUnits) = a (rows, k) times a packed panel.
template <typename Number>
void PanelProduct(const Tiles<Number> &tiles, int64_t rows, const Number *a, int64_t k, const Number *panel, float *z) {
  if (tiles.Take(rows, a, k, panel, z)) return;
  int64_t first = 0;
  PanelRows<8>(rows, a, k, panel, z, &first);
  PanelRows<4>(rows, a, k, panel, z, &first);
  PanelRows<2>(rows, a, k, panel, z, &first);
  PanelRows<1>(rows, a, k, panel, z, &first);
}

constexpr int64_t kItems = 4;  // of a thread, at least, for which it goes through all weights at every step

// Of the arrays that an operator takes: x, for two directions frames, and three of each direction.
struct Layer {
  int64_t directions, steps, batch, inputs, units;
  const int32_t *frames;

  Layer(int64_t directions, int64_t **shapes, void **data)
      : directions(directions),
        steps(shapes[0][0]),
        batch(shapes[0][1]),
        inputs(shapes[0][2]),
        units(shapes[directions + 1][1]),
        frames(static_cast<const int32_t *>(data[1])) {}

  // Where weights (4 H, I), (4 H, H) and bias of a direction are among the arrays.
  int64_t Weights(int64_t direction) const { return directions + 3 * direction; }
  int64_t arrays() const { return 4 * directions; }

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
    InParts(count, std::max<int64_t>((Threads() + directions - 1) / directions, (count + 511) / 512), task);
  }

  // Calls task(direction, first item, items), each for all steps.
  template <typename Task>
  void InItems(const Task &task) const {
    InParts(batch, std::max<int64_t>(1, std::min<int64_t>(Threads() / directions, batch / kItems)), task);
  }

  template <typename Task>
  void InParts(int64_t count, int64_t parts, const Task &task) const {
    Parallel(directions * parts, [&](int64_t i) {
      const int64_t part = i / directions, first = count * part / parts;
      task(i % directions, first, count * (part + 1) / parts - first);
    });
  }
};

// The steps of one direction for `items` of the batch; gates hold what the input adds to them, and then the gates.
template <typename Number>
void Forward(const Layer &l, int64_t direction, int64_t begin, int64_t items, const float *w_h, float *hidden,
             float *cells, float *gates) {
  const int64_t units = l.units, padded = Padded<Number>(units), all = items * kUnits;
  const Numbers<Number> packed = AllocateOf<Number>(l.blocks() * kColumns * padded);
  for (int64_t i = 0; i < l.blocks() * kBlocks; ++i) {  // a panel is the four gates of a block of units
    const int64_t first = i / kBlocks * kUnits;
    const float *from = w_h + (i % kBlocks * units + first) * units;
    PackBlock(units, std::min(kUnits, units - first), packed.get() + i * kUnits * padded,
              [&](int64_t k, int64_t u) { return from[u * units + k]; });
  }
  const Tiles<Number> tiles(items);
  const Numbers<Number> h = AllocateOf<Number>(items * padded);
  const Memory c = Allocate(items * units), z = Allocate(4 * all), next = Allocate(items * units);
  std::fill_n(h.get(), items * padded, Number{});
  std::fill_n(c.get(), items * units, 0.0f);
  for (int64_t step = 0; step < l.steps; ++step) {
    for (int64_t block = 0; block < l.blocks(); ++block) {
      const int64_t first = block * kUnits, count = std::min(kUnits, units - first);
      PanelProduct(tiles, items, h.get(), padded, packed.get() + block * kColumns * padded, z.get());
      for (int64_t b = 0; b < items; ++b) {
        const int64_t row = l.Row(direction, step, begin + b);
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
    for (int64_t b = 0; b < items; ++b) {
      const int64_t row = l.Row(direction, step, begin + b);
      std::copy_n(c.get() + b * units, units, cells + row * units);
      std::copy_n(next.get() + b * units, units, hidden + row * units);
      Round(next.get() + b * units, units, h.get() + b * padded);
    }
  }
}

// Gradients of the gates of one direction, d (T, B, 4 H), by the steps backwards, for `items` of the batch.
template <typename Number>
void Backward(const Layer &l, int64_t direction, int64_t begin, int64_t items, const float *dy, const float *w_h,
              const float *cells, const float *gates, float *d) {
  const int64_t units = l.units, width = l.width();
  const int64_t panels = (l.blocks() + kBlocks - 1) / kBlocks;
  const Numbers<Number> packed = AllocateOf<Number>(panels * kColumns * width);
  for (int64_t first = 0; first < panels * kColumns; first += kUnits) {
    PackBlock(width, std::min(kUnits, units - first), packed.get() + first * width,
              [&](int64_t k, int64_t u) { return w_h[k * units + first + u]; });
  }
  const Tiles<Number> tiles(items);
  const Memory dh = Allocate(items * units), dc = Allocate(items * units), z = Allocate(items * kColumns);
  const Numbers<Number> now = AllocateOf<Number>(items * width);
  std::fill_n(dh.get(), items * units, 0.0f);
  std::fill_n(dc.get(), items * units, 0.0f);
  const std::vector<float> nothing(units);
  for (int64_t step = l.steps - 1; step >= 0; --step) {
    for (int64_t b = 0; b < items; ++b) {
      const int64_t row = l.Row(direction, step, begin + b);
      const float *gate = gates + row * width, *cell = cells + row * units, *error = dy + row * units;
      const float *before = step ? cells + l.Row(direction, step - 1, begin + b) * units : nothing.data();
      float *to = d + row * width, *by_hidden = dh.get() + b * units, *by_cell = dc.get() + b * units;
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
      Round(to, width, now.get() + b * width);
    }
    for (int64_t block = 0; block < l.blocks(); ++block) {
      const int64_t first = block * kUnits, side = block % kBlocks;
      if (side == 0) PanelProduct(tiles, items, now.get(), width, packed.get() + first * width, z.get());
      for (int64_t b = 0; b < items; ++b) {
        std::copy_n(z.get() + (side * items + b) * kUnits, std::min(kUnits, units - first),
                    dh.get() + b * units + first);
      }
    }
  }
}

// Numbers: what the products of matrices take.
template <typename Number>
void LayerForward(int64_t directions, void **data, int64_t **shapes) {
  const Layer l(directions, shapes, data);
  const auto input = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  const auto output = [&](int64_t i) { return static_cast<float *>(data[l.arrays() + i]); };
  float *y = output(0), *hidden = output(1), *cells = output(2), *gates = output(3);
  Numbers<Number> own[2];
  const Number *weights[2];
  for (int64_t direction = 0; direction < directions; ++direction) {
    weights[direction] = SharedMatrix(input(l.Weights(direction)), l.width() * l.inputs, &own[direction]);
  }
  l.InRows(l.rows(), [&](int64_t direction, int64_t first, int64_t rows) {
    const float *bias = input(l.Weights(direction) + 2);
    float *to = gates + (direction * l.rows() + first) * l.width();
    for (int64_t row = 0; row < rows; ++row) std::copy_n(bias, l.width(), to + row * l.width());
    Numbers<Number> own_x;
    const Number *x = Matrix(input(0) + first * l.inputs, rows * l.inputs, &own_x);
    MultiplyTransposed(rows, l.width(), l.inputs, x, l.inputs, weights[direction], l.inputs, 1.0f, to, l.width());
  });
  l.InItems([&](int64_t direction, int64_t first, int64_t items) {
    Forward<Number>(l, direction, first, items, input(l.Weights(direction) + 1), hidden + direction * l.size(),
                    cells + direction * l.size(), gates + direction * l.rows() * l.width());
  });
  InBlocks(l.size(), [&](int64_t, int64_t first, int64_t last) {
    std::copy(hidden + first, hidden + last, y + first);
    for (int64_t i = first; directions == 2 && i < last; ++i) y[i] += hidden[l.size() + i];
  });
}

template <typename Number>
void LayerBackward(int64_t directions, void **data, int64_t **shapes) {
  const Layer l(directions, shapes + 1, data + 1);
  const auto input = [&](int64_t i) { return static_cast<const float *>(data[1 + i]); };
  const auto output = [&](int64_t i) { return static_cast<float *>(data[4 + l.arrays() + i]); };
  const float *dy = input(-1), *hidden = input(l.arrays()), *cells = input(l.arrays() + 1);
  const float *gates = input(l.arrays() + 2);
  const int64_t rows = l.rows(), width = l.width(), units = l.units, inputs = l.inputs;
  const Memory d = Allocate(directions * rows * width);
  l.InItems([&](int64_t direction, int64_t first, int64_t items) {
    Backward<Number>(l, direction, first, items, dy, input(l.Weights(direction) + 1), cells + direction * l.size(),
                     gates + direction * rows * width, d.get() + direction * rows * width);
  });
  // hidden one step before, for the weights between steps
  const Numbers<Number> before = AllocateOf<Number>(directions * l.size());
  l.InRows(l.steps, [&](int64_t direction, int64_t first, int64_t steps) {
    for (int64_t step = first; step < first + steps; ++step) {
      for (int64_t b = 0; b < l.batch; ++b) {
        Number *to = before.get() + direction * l.size() + l.Row(direction, step, b) * units;
        if (step == 0) {
          std::fill_n(to, units, Number{});
        } else {
          Round(hidden + direction * l.size() + l.Row(direction, step - 1, b) * units, units, to);
        }
      }
    }
  });
  Numbers<Number> own_x;
  const Number *x = SharedMatrix(input(0), rows * inputs, &own_x);
  l.InRows(width, [&](int64_t direction, int64_t first, int64_t height) {
    const float *from = d.get() + direction * rows * width + first;
    const Numbers<Number> turned = AllocateOf<Number>(height * rows);  // a product takes twice as long to turn it
    const Number *part = turned.get();
    Turn(from, rows, height, width, turned.get());
    Multiply(height, inputs, rows, part, rows, x, inputs, 0.0f, output(1 + 3 * direction) + first * inputs, inputs);
    Multiply(height, units, rows, part, rows, before.get() + direction * l.size(), units, 0.0f,
             output(2 + 3 * direction) + first * units, units);
    std::vector<double> sums(height);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t row = 0; row < height; ++row) sums[row] += from[i * width + row];
    }
    std::copy(sums.begin(), sums.end(), output(3 + 3 * direction) + first);
  });
  Numbers<Number> own[2];
  const Number *weights[2];
  for (int64_t direction = 0; direction < directions; ++direction) {
    weights[direction] = SharedMatrix(input(l.Weights(direction)), width * inputs, &own[direction]);
  }
  const int64_t parts = std::max<int64_t>(Threads(), (rows + 511) / 512);
  Parallel(parts, [&](int64_t part) {
    const int64_t first = rows * part / parts, height = rows * (part + 1) / parts - first;
    for (int64_t direction = 0; direction < directions; ++direction) {
      Numbers<Number> own_errors;
      const Number *errors = Matrix(d.get() + (direction * rows + first) * width, height * width, &own_errors);
      Multiply(height, inputs, width, errors, width, weights[direction], inputs, static_cast<float>(direction),
               output(0) + first * inputs, inputs);
    }
  });
}

Shapes ResultShapes(int64_t directions, int64_t **shapes) {
  const int64_t steps = shapes[0][0], batch = shapes[0][1], units = shapes[directions + 1][1];
  return {{steps, batch, units},
          {directions, steps, batch, units},
          {directions, steps, batch, units},
          {directions, steps, batch, 4 * units}};
}

Shapes GradientShapes(int64_t directions, int *ndims, int64_t **shapes) {
  Shapes result = {ShapeOf(1, ndims, shapes)};
  for (int i = 1 + directions; i < 1 + 4 * directions; ++i) result.push_back(ShapeOf(i, ndims, shapes));
  return result;
}
}  // namespace

extern "C" Shapes BothDirectionsInferShape(int *, int64_t **shapes, AotExtra *) { return ResultShapes(2, shapes); }

extern "C" int BothDirections(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? LayerForward<BFloat16> : LayerForward<float>)(2, data, shapes);
  return 0;
}

// dy, then what BothDirections takes, then hidden, cells, gates -> dx, and of either direction dw_x, dw_h, dbias.
extern "C" Shapes BothDirectionsGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return GradientShapes(2, ndims, shapes);
}

extern "C" int BothDirectionsGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? LayerBackward<BFloat16> : LayerBackward<float>)(2, data, shapes);
  return 0;
}

// The same of a layer forward in time.
extern "C" Shapes ForwardDirectionInferShape(int *, int64_t **shapes, AotExtra *) { return ResultShapes(1, shapes); }

extern "C" int ForwardDirection(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? LayerForward<BFloat16> : LayerForward<float>)(1, data, shapes);
  return 0;
}

extern "C" Shapes ForwardDirectionGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return GradientShapes(1, ndims, shapes);
}

extern "C" int ForwardDirectionGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? LayerBackward<BFloat16> : LayerBackward<float>)(1, data, shapes);
  return 0;
}
