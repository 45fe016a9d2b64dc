// Convolution over frequency and time as products of matrices, with both gradients.
//
// Rows of frequency that lie under a kernel are neighbours in memory once frequency comes before channels; a stride in
// time becomes a dimension (`phase`). One product then gives what each tap in time would add, and a sum of its shifted
// rows the result. A pointwise convolution is a product of what is there.
//
// x (B, I, F, T), weight (O, I, K, L), bias (O) -> y (B, O, F', T').
// settings: stride in frequency and time, dilation in time, zeros before and after in frequency and time.
#include <type_traits>

#include "common.h"

namespace {
struct Geometry {
  int64_t batch, inputs, bins, frames;  // of x
  int64_t outputs, tall, wide;          // O, K, L
  int64_t bin_step, step, dilation, top, bottom, left, right;
  int64_t bins_after, frames_after;
  int64_t taps;     // in time, of one phase
  int64_t columns;  // of a matrix: frames_after and what the taps reach beyond
  int64_t rows;     // of a matrix under the kernel: K * phases * I
  bool pointwise;   // x itself is the matrix

  Geometry(const int64_t *x, const int64_t *weight, const std::vector<int64_t> &settings)
      : batch(x[0]),
        inputs(x[1]),
        bins(x[2]),
        frames(x[3]),
        outputs(weight[0]),
        tall(weight[2]),
        wide(weight[3]),
        bin_step(settings[0]),
        step(settings[1]),
        dilation(settings[2]),
        top(settings[3]),
        bottom(settings[4]),
        left(settings[5]),
        right(settings[6]) {
    pointwise = tall == 1 && wide == 1 && bin_step == 1 && step == 1 && top + bottom + left + right == 0;
    if (pointwise) {
      frames *= bins;
      bins = 1;
    }
    bins_after = (bins + top + bottom - tall) / bin_step + 1;
    frames_after = (frames + left + right - (wide - 1) * dilation - 1) / step + 1;
    taps = (wide + step - 1) / step;
    columns = frames_after + (taps - 1) * dilation;
    rows = tall * step * inputs;
  }

  int64_t padded_bins() const { return bins + top + bottom; }
  int64_t matrix_size() const { return padded_bins() * step * inputs * columns; }  // of one utterance
  int64_t y_stride() const { return bins_after * frames_after; }                   // from channel to channel
};

// Calls visit(row of x, first frame of the row's phase, row of the matrix) for all rows of an utterance; null where
// there are zeros.
template <typename Visit>
void ForRows(const Geometry &g, const Visit &visit) {
  for (int64_t bin = 0; bin < g.padded_bins(); ++bin) {
    const int64_t from = bin - g.top;
    const bool inside = from >= 0 && from < g.bins;
    for (int64_t phase = 0; phase < g.step; ++phase) {
      for (int64_t channel = 0; channel < g.inputs; ++channel) {
        const int64_t row = ((bin * g.step + phase) * g.inputs + channel) * g.columns;
        visit(inside ? (channel * g.bins + from) * g.frames : -1, phase - g.left, row);
      }
    }
  }
}

// The columns of the matrix that hold frames of x: [first, last).
void Inside(const Geometry &g, int64_t offset, int64_t *first, int64_t *last) {
  *first = std::clamp<int64_t>(offset < 0 ? (-offset + g.step - 1) / g.step : 0, 0, g.columns);
  *last = std::clamp<int64_t>((g.frames - offset + g.step - 1) / g.step, *first, g.columns);
}

// x of one utterance as matrix (padded bins, phases, I, columns).
template <typename Number>
void ToMatrix(const Geometry &g, const float *x, Number *matrix) {
  ForRows(g, [&](int64_t source, int64_t offset, int64_t row) {
    int64_t first = g.columns, last = g.columns;
    if (source >= 0) Inside(g, offset, &first, &last);
    Number *to = matrix + row;
    std::fill(to, to + first, Number{});
    const float *from = x + source + offset;
    if (g.step == 1) {
      Round(from + first, last - first, to + first);
    } else {
      for (int64_t n = first; n < last; ++n) to[n] = Rounded<Number>(from[n * g.step]);
    }
    std::fill(to + last, to + g.columns, Number{});
  });
}

// The matrices of all utterances: x itself where it is them, or in `own`.
template <typename Number>
const Number *ToMatrices(const Geometry &g, const float *x, Numbers<Number> *own) {
  if (g.pointwise && std::is_same_v<Number, float>) return Matrix(x, 0, own);
  *own = AllocateOf<Number>(g.batch * g.matrix_size());
  Parallel(g.batch,
           [&](int64_t b) { ToMatrix(g, x + b * g.inputs * g.bins * g.frames, own->get() + b * g.matrix_size()); });
  return own->get();
}

// The inverse of ToMatrix: every frame of x is in the matrix once, or nowhere when no kernel reaches it.
void FromMatrix(const Geometry &g, const float *matrix, float *x) {
  std::fill(x, x + g.inputs * g.bins * g.frames, 0.0f);
  ForRows(g, [&](int64_t target, int64_t offset, int64_t row) {
    if (target < 0) return;
    int64_t first, last;
    Inside(g, offset, &first, &last);
    for (int64_t n = first; n < last; ++n) x[target + offset + n * g.step] = matrix[row + n];
  });
}

// Calls visit(index in weight, row (o, tap), column (k, phase, i)) for every weight.
template <typename Visit>
void ForWeights(const Geometry &g, const Visit &visit) {
  for (int64_t o = 0; o < g.outputs; ++o) {
    for (int64_t i = 0; i < g.inputs; ++i) {
      for (int64_t k = 0; k < g.tall; ++k) {
        for (int64_t l = 0; l < g.wide; ++l) {
          visit(((o * g.inputs + i) * g.tall + k) * g.wide + l, o * g.taps + l / g.step,
                (k * g.step + l % g.step) * g.inputs + i);
        }
      }
    }
  }
}

// (O taps, rows), or its transpose.
template <typename Number>
Numbers<Number> WeightMatrix(const Geometry &g, const float *weight, bool transposed) {
  const int64_t height = g.outputs * g.taps;
  Numbers<Number> matrix = AllocateOf<Number>(height * g.rows);
  std::fill(matrix.get(), matrix.get() + height * g.rows, Number{});
  ForWeights(g, [&](int64_t index, int64_t row, int64_t column) {
    matrix[transposed ? column * height + row : row * g.rows + column] = Rounded<Number>(weight[index]);
  });
  return matrix;
}

// Rows of dy of channels [first, last) at one bin, each once for every tap, moved on by it: (channels taps, columns).
template <typename Number>
void Spread(const Geometry &g, const float *dy, int64_t first, int64_t last, Number *spread) {
  for (int64_t o = first; o < last; ++o) {
    const float *from = dy + o * g.y_stride();
    for (int64_t tap = 0; tap < g.taps; ++tap, spread += g.columns) {
      const int64_t shift = tap * g.dilation;
      std::fill(spread, spread + shift, Number{});
      Round(from, g.frames_after, spread + shift);
      std::fill(spread + shift + g.frames_after, spread + g.columns, Number{});
    }
  }
}

// Numbers: what the products of matrices take.
template <typename Number>
void Forward(const Geometry &g, const float *x, const float *weight, const float *bias, float *y) {
  Numbers<Number> own_matrices, own_kernel;
  const Number *matrices = g.pointwise ? nullptr : ToMatrices(g, x, &own_matrices), *kernel;
  if (g.pointwise) {
    kernel = Matrix(weight, g.outputs * g.rows, &own_kernel);
  } else {
    own_kernel = WeightMatrix<Number>(g, weight, false);
    kernel = own_kernel.get();
  }
  const int64_t parts = Parts(g.batch * g.bins_after, g.outputs);
  Parallel(g.batch * g.bins_after * parts, [&](int64_t task) {
    const int64_t part = task % parts, bin = task / parts % g.bins_after, b = task / parts / g.bins_after;
    const int64_t first = g.outputs * part / parts, last = g.outputs * (part + 1) / parts;
    Numbers<Number> own;
    const Number *a = kernel + first * g.taps * g.rows;
    const Number *under = matrices ? matrices + b * g.matrix_size() + bin * g.bin_step * g.step * g.inputs * g.columns
                                   : Matrix(x + b * g.matrix_size(), g.matrix_size(), &own);
    float *out = y + (b * g.outputs + first) * g.y_stride() + bin * g.frames_after;
    if (g.taps == 1) {
      for (int64_t o = first; o < last; ++o) {
        std::fill_n(out + (o - first) * g.y_stride(), g.frames_after, bias[o]);
      }
      Multiply(last - first, g.columns, g.rows, a, g.rows, under, g.columns, 1.0f, out, g.y_stride());
      return;
    }
    const Memory product = Allocate((last - first) * g.taps * g.columns);
    Multiply((last - first) * g.taps, g.columns, g.rows, a, g.rows, under, g.columns, 0.0f, product.get(), g.columns);
    const float *from = product.get();
    for (int64_t o = first; o < last; ++o, out += g.y_stride()) {
      std::fill_n(out, g.frames_after, bias[o]);
      for (int64_t tap = 0; tap < g.taps; ++tap, from += g.columns) {
        for (int64_t t = 0; t < g.frames_after; ++t) out[t] += from[t + tap * g.dilation];
      }
    }
  });
}

// Rows of dy of channels [first, last) at one bin as a matrix, spread over the taps; they are `*stride` apart.
template <typename Number>
const Number *Errors(const Geometry &g, const float *dy, int64_t first, int64_t last, int64_t *stride,
                     Numbers<Number> *own) {
  if (g.taps == 1) {
    *stride = g.y_stride();
    return Matrix(dy + first * g.y_stride(), last - first, g.columns, stride, own);
  }
  *stride = g.columns;
  if (!*own) *own = AllocateOf<Number>((last - first) * g.taps * g.columns);
  Spread(g, dy, first, last, own->get());
  return own->get();
}

template <typename Number>
void InputGradient(const Geometry &g, const float *dy, const float *weight, float *dx) {
  const Numbers<Number> kernel = WeightMatrix<Number>(g, weight, true);
  const int64_t height = g.outputs * g.taps, image = g.inputs * g.bins * g.frames;
  const int64_t parts = g.bins_after == 1 ? Parts(g.batch, g.rows) : 1;  // bins share rows
  Memory matrices = g.pointwise ? nullptr : Allocate(g.batch * g.matrix_size());
  float *sums = matrices ? matrices.get() : dx;
  Parallel(g.batch * parts, [&](int64_t task) {
    const int64_t b = task / parts, part = task % parts;
    const int64_t first = g.rows * part / parts, last = g.rows * (part + 1) / parts;
    float *matrix = sums + b * g.matrix_size();
    if (g.bins_after > 1) std::fill_n(matrix, g.matrix_size(), 0.0f);
    Numbers<Number> own;
    for (int64_t bin = 0; bin < g.bins_after; ++bin) {
      int64_t stride;
      const Number *errors =
          Errors(g, dy + b * g.outputs * g.y_stride() + bin * g.frames_after, 0, g.outputs, &stride, &own);
      Multiply(last - first, g.columns, height, kernel.get() + first * height, height, errors, stride,
               g.bins_after > 1 ? 1.0f : 0.0f, matrix + (bin * g.bin_step * g.step * g.inputs + first) * g.columns,
               g.columns);
    }
  });
  if (matrices) {
    Parallel(g.batch, [&](int64_t b) { FromMatrix(g, sums + b * g.matrix_size(), dx + b * image); });
  }
}

template <typename Number>
void WeightGradient(const Geometry &g, const float *dy, const float *x, float *dweight, float *dbias) {
  Numbers<Number> own_matrices;
  const Number *matrices = ToMatrices(g, x, &own_matrices);
  const Memory kernel = Allocate(g.outputs * g.taps * g.rows);
  const int64_t parts = Parts(1, g.outputs);
  Parallel(parts, [&](int64_t part) {
    const int64_t first = g.outputs * part / parts, last = g.outputs * (part + 1) / parts;
    std::fill(dbias + first, dbias + last, 0.0f);
    Numbers<Number> own;
    for (int64_t b = 0; b < g.batch; ++b) {
      for (int64_t bin = 0; bin < g.bins_after; ++bin) {
        const float *from = dy + b * g.outputs * g.y_stride() + bin * g.frames_after;
        for (int64_t o = first; o < last; ++o) {
          float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
          for (int64_t t = 0; t < g.frames_after; ++t) sum += from[o * g.y_stride() + t];
          dbias[o] += sum;
        }
        int64_t stride;
        const Number *errors = Errors(g, from, first, last, &stride, &own);
        MultiplyTransposed((last - first) * g.taps, g.rows, g.columns, errors, stride,
                           matrices + b * g.matrix_size() + bin * g.bin_step * g.step * g.inputs * g.columns, g.columns,
                           b + bin > 0 ? 1.0f : 0.0f, kernel.get() + first * g.taps * g.rows, g.rows);
      }
    }
  });
  ForWeights(g, [&](int64_t index, int64_t row, int64_t column) { dweight[index] = kernel[row * g.rows + column]; });
}
}  // namespace

extern "C" Shape ConvolutionInferShape(int *, int64_t **shapes, AotExtra *extra) {
  const int64_t *x = shapes[0], *weight = shapes[1];
  const auto s = Settings(extra);
  const auto after = [](int64_t size, int64_t kernel, int64_t zeros, int64_t dilation, int64_t step) {
    return size < 0 ? -1 : (size + zeros - (kernel - 1) * dilation - 1) / step + 1;
  };
  return {x[0], weight[0], after(x[2], weight[2], s[3] + s[4], 1, s[0]),
          after(x[3], weight[3], s[5] + s[6], s[2], s[1])};
}

extern "C" int Convolution(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  (IsBFloat16(extra) ? Forward<BFloat16> : Forward<float>)(Geometry(shapes[0], shapes[1], Settings(extra)), in(0),
                                                           in(1), in(2), static_cast<float *>(data[3]));
  return 0;
}

// dy, x (for its shape), weight -> dx.
extern "C" Shape ConvolutionInputInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return ShapeOf(1, ndims, shapes);
}

extern "C" int ConvolutionInput(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  (IsBFloat16(extra) ? InputGradient<BFloat16> : InputGradient<float>)(Geometry(shapes[1], shapes[2], Settings(extra)),
                                                                       in(0), in(2), static_cast<float *>(data[3]));
  return 0;
}

// dy, x, weight (for its shape) -> dweight, dbias.
extern "C" Shapes ConvolutionWeightInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {ShapeOf(2, ndims, shapes), {shapes[2][0]}};
}

extern "C" int ConvolutionWeight(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  (IsBFloat16(extra) ? WeightGradient<BFloat16>
                     : WeightGradient<float>)(Geometry(shapes[1], shapes[2], Settings(extra)), in(0), in(1),
                                              static_cast<float *>(data[3]), static_cast<float *>(data[4]));
  return 0;
}
