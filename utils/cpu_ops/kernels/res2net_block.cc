// A block of ECAPA-TDNN, and its gradients, as one operator: a pointwise layer (reduce), seven layers of an eighth of
// the channels, each of which takes the sum of its part and the result before it (Res2Net), a pointwise layer
// (expand), squeeze-excitation, and the residual. A layer is a convolution, ReLU and BatchNorm: norm_layer.h.
//
// x (B, C, 1, T), then the weights:
//   reduce (C, C) and bias, gain, offset, moving mean, moving variance (C)
//   convs (7, W, W, 1, K) and bias, gain, offset, moving mean, moving variance (7, W)
//   expand (C, C) and bias, gain, offset, moving mean, moving variance (C)
//   squeeze (S, C) and bias (S), excite (C, S) and bias (C)
// -> y (B, C, 1, T); what the gradients read: reduced (B, C, T), convolved (B, 7 W, T), expanded (B, C, T), mean and
//   1 / deviation of each channel of these (2 C + 7 W, 2), squeezed (B, S), gate (B, C); and the moved mean and
//   variance of the nine layers, one by one.
// settings: dilation, whether in training, whether the first part is left as it is (or the last), whether ends are
// mirrored.
#include "norm_layer.h"

namespace {
using norm_layer::InputGradient;
using norm_layer::Layer;
using norm_layer::Norm;
using norm_layer::NormGradient;
using norm_layer::Statistics;
using norm_layer::Unfold;

constexpr int64_t kConvs = 7;

// The operator's inputs in their order; the gradient's follow dy. Of a layer: weight, bias, gain, offset, mean,
// variance.
enum Input {
  kX,
  kReduce,
  kConvolve = kReduce + 6,
  kExpand = kConvolve + 6,
  kSqueeze = kExpand + 6,
  kExcite = kSqueeze + 2,
  kInputs = kExcite + 2
};
enum Output { kY, kReduced, kConvolved, kExpanded, kStatistics, kSqueezed, kGate, kMoved, kOutputs = kMoved + 18 };

struct Block {
  int64_t items, channels, frames, width, squeezed;  // B, C, T, W, S
  bool training, pass_first;
  const float *const *in;
  Layer reduce, convs[kConvs], expand;
  const float *reduced, *convolved, *expanded;  // what the layers give, and their norms
  Norm reduce_norm, convs_norm, expand_norm;

  Block(int64_t **shapes, const float *const *inputs, const std::vector<int64_t> &settings, const float *reduced,
        const float *convolved, const float *expanded, const float *statistics)
      : items(shapes[kX][0]),
        channels(shapes[kX][1]),
        frames(shapes[kX][3]),
        width(shapes[kConvolve][1]),
        squeezed(shapes[kSqueeze][0]),
        training(settings[1]),
        pass_first(settings[2]),
        in(inputs),
        reduced(reduced),
        convolved(convolved),
        expanded(expanded) {
    const int64_t taps = shapes[kConvolve][4];
    reduce = {items, frames, channels, channels, 1, 1, false, in[kReduce], in[kReduce + 1]};
    expand = {items, frames, channels, channels, 1, 1, false, in[kExpand], in[kExpand + 1]};
    for (int64_t i = 0; i < kConvs; ++i) {
      convs[i] = {items,
                  frames,
                  width,
                  width,
                  taps,
                  settings[0],
                  settings[3] != 0,
                  in[kConvolve] + i * width * width * taps,
                  in[kConvolve + 1] + i * width};
    }
    reduce_norm = {statistics, in[kReduce + 2], in[kReduce + 3]};
    convs_norm = {statistics + 2 * channels, in[kConvolve + 2], in[kConvolve + 3]};
    expand_norm = {statistics + 2 * (channels + between()), in[kExpand + 2], in[kExpand + 3]};
  }

  int64_t between() const { return kConvs * width; }                  // channels that are convolved
  int64_t part(int64_t i) const { return (pass_first + i) * width; }  // the first of those that layer i convolves
  int64_t passed() const { return pass_first ? 0 : between(); }       // the first of those that none does

  // Rows of an item: of what the layers give, and of a tensor (B, C, T).
  const float *ReducedRow(int64_t item, int64_t c) const { return reduced + (item * channels + c) * frames; }
  const float *ConvolvedRow(int64_t item, int64_t c) const { return convolved + (item * between() + c) * frames; }
  const float *ExpandedRow(int64_t item, int64_t c) const { return expanded + (item * channels + c) * frames; }

  template <typename Number>
  const Number *UnderReduce(int64_t item, Numbers<Number> *own) const {
    return Matrix(in[kX] + item * channels * frames, channels * frames, own);
  }

  // What layer i of Res2Net takes: its part, and the result before it.
  template <typename Number>
  const Number *UnderConv(int64_t i, int64_t item, Numbers<Number> *own) const {
    *own = AllocateOf<Number>(convs[i].rows() * frames);
    Unfold(
        convs[i],
        [&](int64_t c, float *to) {
          reduce_norm.Row(part(i) + c, ReducedRow(item, part(i) + c), frames, to);
          if (i > 0) convs_norm.AddRow((i - 1) * width + c, ConvolvedRow(item, (i - 1) * width + c), frames, to);
        },
        own->get());
    return own->get();
  }

  // The results of Res2Net and the part that it leaves, one above the other.
  template <typename Number>
  const Number *UnderExpand(int64_t item, Numbers<Number> *own) const {
    *own = AllocateOf<Number>(channels * frames);
    Unfold(
        expand,
        [&](int64_t c, float *to) {
          if (c >= passed() && c < passed() + width) {
            reduce_norm.Row(c, ReducedRow(item, c), frames, to);
          } else {
            convs_norm.Row(c - part(0), ConvolvedRow(item, c - part(0)), frames, to);
          }
        },
        own->get());
    return own->get();
  }
};

// The mean over time of each channel after the last norm: (B, C).
std::vector<float> Pooled(const Block &b, const std::vector<double> &means) {
  std::vector<float> pooled(b.items * b.channels);
  for (int64_t i = 0; i < b.items * b.channels; ++i) {
    const int64_t c = i % b.channels;
    pooled[i] = b.expand_norm.scale(c) * static_cast<float>(means[2 * i]) + b.expand_norm.shift(c);
  }
  return pooled;
}

// Two dense layers: pooled (B, C) -> squeezed (B, S), gate (B, C).
void Gate(const Block &b, const std::vector<float> &pooled, float *squeezed, float *gate) {
  for (int64_t item = 0; item < b.items; ++item) {
    std::copy_n(b.in[kSqueeze + 1], b.squeezed, squeezed + item * b.squeezed);
    std::copy_n(b.in[kExcite + 1], b.channels, gate + item * b.channels);
  }
  MultiplyTransposed(b.items, b.squeezed, b.channels, pooled.data(), b.channels, b.in[kSqueeze], b.channels, 1.0f,
                     squeezed, b.squeezed);
  for (int64_t i = 0; i < b.items * b.squeezed; ++i) squeezed[i] = std::max(squeezed[i], 0.0f);
  MultiplyTransposed(b.items, b.channels, b.squeezed, squeezed, b.squeezed, b.in[kExcite], b.squeezed, 1.0f, gate,
                     b.channels);
  for (int64_t i = 0; i < b.items * b.channels; ++i) gate[i] = 1.0f / (1.0f + std::exp(-gate[i]));
}

// Numbers: what the products of matrices take.
template <typename Number>
void Forward(void **data, int64_t **shapes, void *extra) {
  const auto *in = reinterpret_cast<const float *const *>(data);
  const auto out = [&](int64_t i) { return static_cast<float *>(data[kInputs + i]); };
  float *reduced = out(kReduced), *convolved = out(kConvolved), *expanded = out(kExpanded),
        *statistics = out(kStatistics);
  const Block b(shapes, in, Settings(extra), reduced, convolved, expanded, statistics);
  std::vector<double> sums;
  int64_t layer = 0;
  // the statistics of the layers follow each other as the layers do; `from` of its channels in the operator's inputs
  const auto finish = [&](const Layer &l, int input, int64_t from) {
    Statistics(l, b.training, sums,
               {in[input + 4] + from, in[input + 5] + from, out(kMoved + 2 * layer), out(kMoved + 2 * layer + 1)},
               statistics);
    statistics += 2 * l.outputs;
    ++layer;
  };
  Forward<Number>(
      b.reduce, [&](int64_t item, auto *own) { return b.UnderReduce(item, own); }, reduced, b.channels * b.frames,
      &sums);
  finish(b.reduce, kReduce, 0);
  for (int64_t i = 0; i < kConvs; ++i) {
    Forward<Number>(
        b.convs[i], [&](int64_t item, auto *own) { return b.UnderConv(i, item, own); },
        convolved + i * b.width * b.frames, b.between() * b.frames, &sums);
    finish(b.convs[i], kConvolve, i * b.width);
  }
  Forward<Number>(
      b.expand, [&](int64_t item, auto *own) { return b.UnderExpand(item, own); }, expanded, b.channels * b.frames,
      &sums);
  finish(b.expand, kExpand, 0);
  Gate(b, Pooled(b, sums), out(kSqueezed), out(kGate));
  Parallel(b.items, [&](int64_t item) {
    for (int64_t c = 0; c < b.channels; ++c) {
      const int64_t row = item * b.channels + c;
      const float gate = out(kGate)[row], scale = b.expand_norm.scale(c) * gate, shift = b.expand_norm.shift(c) * gate;
      const float *from = expanded + row * b.frames, *x = in[kX] + row * b.frames;
      float *to = out(kY) + row * b.frames;
      for (int64_t t = 0; t < b.frames; ++t) to[t] = x[t] + scale * from[t] + shift;
    }
  });
}
}  // namespace

extern "C" Shapes Res2NetBlockInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  const int64_t items = shapes[kX][0], channels = shapes[kX][1], frames = shapes[kX][3], width = shapes[kConvolve][1];
  const int64_t between = kConvs * width;
  Shapes result = {ShapeOf(kX, ndims, shapes),
                   {items, channels, frames},
                   {items, between, frames},
                   {items, channels, frames},
                   {2 * channels + between, 2},
                   {items, shapes[kSqueeze][0]},
                   {items, channels},
                   {channels},
                   {channels}};
  for (int64_t i = 0; i < kConvs; ++i) result.insert(result.end(), 2, {width});
  result.insert(result.end(), 2, {channels});
  return result;
}

extern "C" int Res2NetBlock(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? Forward<BFloat16> : Forward<float>)(data, shapes, extra);
  return 0;
}

namespace {
// The way back through squeeze-excitation.
struct GateGradient {
  std::vector<float> by_pooled;  // (B, C)

  // by_gate (B, C) of the gate, which is in [0, 1].
  GateGradient(const Block &b, const std::vector<float> &pooled, const float *squeezed, const float *gate,
               std::vector<float> by_gate, float *const *out)
      : by_pooled(b.items * b.channels) {
    std::vector<float> by_squeezed(b.items * b.squeezed);
    for (int64_t i = 0; i < b.items * b.channels; ++i) by_gate[i] *= gate[i] * (1.0f - gate[i]);
    Weights(by_gate, b.channels, squeezed, b.squeezed, b.items, out[0 + 2], out[1 + 2]);
    Multiply(b.items, b.squeezed, b.channels, by_gate.data(), b.channels, b.in[kExcite], b.squeezed, 0.0f,
             by_squeezed.data(), b.squeezed);
    for (int64_t i = 0; i < b.items * b.squeezed; ++i) by_squeezed[i] = squeezed[i] > 0.0f ? by_squeezed[i] : 0.0f;
    Weights(by_squeezed, b.squeezed, pooled.data(), b.channels, b.items, out[0], out[1]);
    Multiply(b.items, b.channels, b.squeezed, by_squeezed.data(), b.squeezed, b.in[kSqueeze], b.channels, 0.0f,
             by_pooled.data(), b.channels);
  }

  // Of a dense layer: d (B, O), x (B, I) -> dweight (O, I), dbias (O).
  static void Weights(const std::vector<float> &d, int64_t outputs, const float *x, int64_t inputs, int64_t items,
                      float *dweight, float *dbias) {
    MultiplyFirstTransposed(outputs, inputs, items, d.data(), outputs, x, inputs, 0.0f, dweight, inputs);
    std::fill_n(dbias, outputs, 0.0f);
    for (int64_t i = 0; i < items * outputs; ++i) dbias[i % outputs] += d[i];
  }
};

// The gradient's outputs: dx, of each layer those of weight, bias, gain and offset, of the two dense layers two each.
enum Gradient {
  kByX,
  kByReduce,
  kByConvs = kByReduce + 4,
  kByExpand = kByConvs + 4,
  kBySqueeze = kByExpand + 4,
  kGradients = kBySqueeze + 4
};

template <typename Number>
void Backward(void **data, int64_t **shapes, void *extra) {
  const auto *dy = static_cast<const float *>(data[0]);
  const auto *in = reinterpret_cast<const float *const *>(data + 1);
  const auto *saved = in + kInputs - kReduced;  // by their place among the results
  float *const *out = reinterpret_cast<float *const *>(data + 1 + kInputs + kMoved - kReduced);
  const Block b(shapes + 1, in, Settings(extra), saved[kReduced], saved[kConvolved], saved[kExpanded],
                saved[kStatistics]);
  const float *gate = saved[kGate];
  // The gradients of what comes before `expand`, part by part of what `reduce` gives, at last of x, of which the
  // residual is added only then.
  float *dx = out[kByX];
  const auto row_of = [&](int64_t item, int64_t c) { return dx + (item * b.channels + c) * b.frames; };

  // squeeze-excitation and the norm of `expand`, from sums of rows
  const int64_t rows = b.items * b.channels;
  std::vector<double> means(2 * rows);  // of `expanded`, as Forward has them
  std::vector<float> by_gate(rows), sums(rows),
      products(rows);  // of dy, and of dy times what `expanded` is above its mean
  Parallel(b.items, [&](int64_t item) {
    for (int64_t c = 0; c < b.channels; ++c) {
      const int64_t row = item * b.channels + c;
      const float *d = dy + row * b.frames, *x = b.ExpandedRow(item, c), mean = b.expand_norm.statistics[2 * c];
      float total = 0.0f, sum = 0.0f, product = 0.0f;
#pragma omp simd reduction(+ : total, sum, product)
      for (int64_t t = 0; t < b.frames; ++t) {
        total += x[t];
        sum += d[t];
        product += d[t] * (x[t] - mean);
      }
      means[2 * row] = total / static_cast<float>(b.frames);
      sums[row] = sum;
      products[row] = product;
      by_gate[row] = b.expand_norm.scale(c) * product + b.expand_norm.offset[c] * sum;
    }
  });
  const GateGradient through_gate(b, Pooled(b, means), saved[kSqueezed], gate, by_gate, out + kBySqueeze);
  NormGradient expand(b.expand_norm, b.items, b.channels, b.frames);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t c = row % b.channels;
    const float by_mean = through_gate.by_pooled[row];
    expand.Set(
        row / b.channels, c, static_cast<double>(gate[row]) * sums[row] + by_mean,
        static_cast<double>(gate[row]) * products[row] + by_mean * (means[2 * row] - b.expand_norm.statistics[2 * c]));
  }
  expand.Finish(b.training, out[kByExpand + 2], out[kByExpand + 3]);

  NormGradient reduce(b.reduce_norm, b.items, b.channels, b.frames);
  std::vector<NormGradient> convs;
  for (int64_t i = 0; i < kConvs; ++i) convs.emplace_back(b.convs_norm.From(i * b.width), b.items, b.width, b.frames);
  // rows of dx of part i are those of the result of layer i, or of what it takes
  const auto results_there = [&](int64_t item, int64_t i) {
    for (int64_t c = 0; c < b.width; ++c) {
      convs[i].Add(item, c, row_of(item, b.part(i) + c), b.ConvolvedRow(item, i * b.width + c));
    }
  };
  Backward<Number>(
      b.expand,
      [&](int64_t item, int64_t c, Number *to) {
        const int64_t row = item * b.channels + c;
        return expand.Row(c, dy + row * b.frames, gate[row], through_gate.by_pooled[row] / b.frames,
                          b.ExpandedRow(item, c), to);
      },
      [&](int64_t item, auto *own) { return b.UnderExpand(item, own); },
      [&](int64_t item, const Number *weight, const Number *errors) {
        MultiplyFirstTransposed(b.channels, b.frames, b.channels, weight, b.channels, errors, b.frames, 0.0f,
                                row_of(item, 0), b.frames);
        results_there(item, kConvs - 1);
        for (int64_t c = b.passed(); c < b.passed() + b.width; ++c) {
          reduce.Add(item, c, row_of(item, c), b.ReducedRow(item, c));
        }
      },
      out[kByExpand], out[kByExpand + 1]);
  for (int64_t i = kConvs - 1; i >= 0; --i) {
    const int64_t first = i * b.width;
    convs[i].Finish(b.training, out[kByConvs + 2] + first, out[kByConvs + 3] + first);
    Backward<Number>(
        b.convs[i],
        [&](int64_t item, int64_t c, Number *to) {
          return convs[i].Row(c, row_of(item, b.part(i) + c), 1.0f, 0.0f, b.ConvolvedRow(item, first + c), to);
        },
        [&](int64_t item, auto *own) { return b.UnderConv(i, item, own); },
        [&](int64_t item, const Number *weight, const Number *errors) {
          InputGradient(b.convs[i], weight, errors, [&](int64_t c, const float *d) {
            const int64_t at = b.part(i) + c;
            std::copy_n(d, b.frames, row_of(item, at));
            reduce.Add(item, at, d, b.ReducedRow(item, at));
            if (i > 0) {
              float *before = row_of(item, at - b.width);
              for (int64_t t = 0; t < b.frames; ++t) before[t] += d[t];
            }
          });
          if (i > 0) results_there(item, i - 1);
        },
        out[kByConvs] + i * b.convs[i].weights(), out[kByConvs + 1] + first);
  }
  reduce.Finish(b.training, out[kByReduce + 2], out[kByReduce + 3]);
  Backward<Number>(
      b.reduce,
      [&](int64_t item, int64_t c, Number *to) {
        return reduce.Row(c, row_of(item, c), 1.0f, 0.0f, b.ReducedRow(item, c), to);
      },
      [&](int64_t item, auto *own) { return b.UnderReduce(item, own); },
      [&](int64_t item, const Number *weight, const Number *errors) {
        std::copy_n(dy + item * b.channels * b.frames, b.channels * b.frames, row_of(item, 0));
        MultiplyFirstTransposed(b.channels, b.frames, b.channels, weight, b.channels, errors, b.frames, 1.0f,
                                row_of(item, 0), b.frames);
      },
      out[kByReduce], out[kByReduce + 1]);
}
}  // namespace

// dy, what Res2NetBlock takes, and what it gives for the gradients -> those of x and of the weights.
extern "C" Shapes Res2NetBlockGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  Shapes result = {ShapeOf(1 + kX, ndims, shapes)};
  for (const int input : {kReduce, kConvolve, kExpand}) {
    for (int i = 0; i < 4; ++i) result.push_back(ShapeOf(1 + input + i, ndims, shapes));
  }
  for (int i = kSqueeze; i < kInputs; ++i) result.push_back(ShapeOf(1 + i, ndims, shapes));
  return result;
}

extern "C" int Res2NetBlockGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? Backward<BFloat16> : Backward<float>)(data, shapes, extra);
  return 0;
}
