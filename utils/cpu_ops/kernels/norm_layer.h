// A convolution over time that keeps T, then ReLU, then BatchNorm: what ECAPA-TDNN is made of, and its gradients.
//
// Between the products of matrices there is one pass over the numbers, of rows that a core's cache holds: bias, ReLU
// and the sums for the statistics follow a product at once, and the norm is applied where the result is read, for it
// is one factor and one summand per channel. So only what ReLU gives is kept for the gradients. Sums are taken
// of each row and added in the order of the items, so that the number of threads changes nothing.
//
// Letters: B items, I and O channels before and after, K taps, T frames.
#ifndef UTILS_CPU_OPS_NORM_LAYER_H_
#define UTILS_CPU_OPS_NORM_LAYER_H_

#include "common.h"

namespace norm_layer {
constexpr double kEpsilon = 1e-5;  // under the root of a variance, as in PyTorch
constexpr double kMomentum = 0.1;  // of a batch in the moving statistics, as in PyTorch

struct Layer {
  int64_t items, frames, inputs, outputs, taps, dilation;
  bool mirrored;               // what lies beyond both ends: the frames before it in reverse, or zeros
  const float *weight, *bias;  // (O, I, K), (O)

  int64_t side() const { return (taps - 1) * dilation / 2; }
  int64_t rows() const { return inputs * taps; }
  int64_t weights() const { return outputs * rows(); }
};

// A norm whose statistics (O, 2) are mean and 1 / deviation; they may still be to come.
struct Norm {
  const float *statistics, *gain, *offset;

  float scale(int64_t c) const { return gain[c] * statistics[2 * c + 1]; }
  float shift(int64_t c) const { return offset[c] - statistics[2 * c] * scale(c); }

  // The norm of channels from `first` on.
  Norm From(int64_t first) const { return {statistics + 2 * first, gain + first, offset + first}; }

  // Of one row of channel c.
  void Row(int64_t c, const float *x, int64_t count, float *to) const {
    const float factor = scale(c), add = shift(c);
    for (int64_t t = 0; t < count; ++t) to[t] = factor * x[t] + add;
  }
  void AddRow(int64_t c, const float *x, int64_t count, float *to) const {
    const float factor = scale(c), add = shift(c);
    for (int64_t t = 0; t < count; ++t) to[t] += factor * x[t] + add;
  }
};

// The matrix (I K, T) that the weights (O, I K) are multiplied with: of each channel K rows, each `dilation` later.
// row(channel, to) writes the T numbers of a channel.
template <typename Number, typename Row>
void Unfold(const Layer &l, const Row &row, Number *matrix) {
  const int64_t side = l.side(), frames = l.frames;
  const Memory padded = Allocate(frames + 2 * side);
  float *x = padded.get() + side;
  std::fill_n(padded.get(), side, 0.0f);
  std::fill_n(x + frames, side, 0.0f);
  for (int64_t i = 0; i < l.inputs; ++i) {
    row(i, x);
    if (l.mirrored) {
      for (int64_t t = 1; t <= side; ++t) {
        x[-t] = x[t];
        x[frames - 1 + t] = x[frames - 1 - t];
      }
    }
    for (int64_t k = 0; k < l.taps; ++k, matrix += frames) Round(padded.get() + k * l.dilation, frames, matrix);
  }
}

// The way back: visit(channel, gradients of its T numbers) for all channels of one item, whose `errors` (O, T) are.
template <typename Number, typename Visit>
void InputGradient(const Layer &l, const Number *weight, const Number *errors, const Visit &visit) {
  const int64_t side = l.side(), frames = l.frames;
  const Memory matrix = Allocate(l.rows() * frames), padded = Allocate(frames + 2 * side);
  MultiplyFirstTransposed(l.rows(), frames, l.outputs, weight, l.rows(), errors, frames, 0.0f, matrix.get(), frames);
  float *d = padded.get() + side;
  const float *from = matrix.get();
  for (int64_t i = 0; i < l.inputs; ++i) {
    std::fill_n(padded.get(), frames + 2 * side, 0.0f);
    for (int64_t k = 0; k < l.taps; ++k, from += frames) {
      float *to = padded.get() + k * l.dilation;
      for (int64_t t = 0; t < frames; ++t) to[t] += from[t];
    }
    if (l.mirrored) {
      for (int64_t t = 1; t <= side; ++t) {
        d[t] += d[-t];
        d[frames - 1 - t] += d[frames - 1 + t];
      }
    }
    visit(i, d);
  }
}

// ReLU(weight x + bias) of all items into y, whose items are `step` apart, and of each row the
// mean and the sum of squared distances from it (B, O, 2). under(item, &own) gives the matrix (I K, T) of an item,
// which may be in `own`.
template <typename Number, typename Under>
void Forward(const Layer &l, const Under &under, float *y, int64_t step, std::vector<double> *sums) {
  sums->resize(l.items * l.outputs * 2);
  Numbers<Number> own_weight;
  const Number *weight = Matrix(l.weight, l.weights(), &own_weight);
  const int64_t parts = Parts(l.items, l.outputs);
  Parallel(l.items * parts, [&](int64_t task) {
    const int64_t item = task / parts, part = task % parts;
    const int64_t first = l.outputs * part / parts, last = l.outputs * (part + 1) / parts;
    Numbers<Number> own;
    const Number *matrix = under(item, &own);
    float *to = y + item * step + first * l.frames;
    Multiply(last - first, l.frames, l.rows(), weight + first * l.rows(), l.rows(), matrix, l.frames, 0.0f, to,
             l.frames);
    for (int64_t o = first; o < last; ++o, to += l.frames) {
      const float bias = l.bias[o];
      double *sum = sums->data() + (item * l.outputs + o) * 2;
      float total = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : total)
      for (int64_t t = 0; t < l.frames; ++t) {
        to[t] = std::max(to[t] + bias, 0.0f);
        total += to[t];
      }
      const float mean = total / static_cast<float>(l.frames);
#pragma omp simd reduction(+ : squares)
      for (int64_t t = 0; t < l.frames; ++t) squares += (to[t] - mean) * (to[t] - mean);
      sum[0] = mean;
      sum[1] = squares;
    }
  });
}

// Where a layer's moving mean and variance (O) are read and, moved towards those of a batch, written.
struct Moving {
  const float *mean, *variance;
  float *moved_mean, *moved_variance;
};

// Mean and 1 / deviation (O, 2): in training of the batch, from `sums` of Forward, else the moving ones, which stay.
inline void Statistics(const Layer &l, bool training, const std::vector<double> &sums, const Moving &m,
                       float *statistics) {
  const double count = static_cast<double>(l.items * l.frames);
  for (int64_t o = 0; o < l.outputs; ++o) {
    double mean = m.mean[o], variance = m.variance[o], unbiased = variance;
    if (training) {
      const auto row = [&](int64_t item) { return &sums[(item * l.outputs + o) * 2]; };
      double sum = 0.0, squares = 0.0;
      for (int64_t item = 0; item < l.items; ++item) sum += row(item)[0];
      mean = sum / static_cast<double>(l.items);
      for (int64_t item = 0; item < l.items; ++item) {
        squares += row(item)[1] + static_cast<double>(l.frames) * (row(item)[0] - mean) * (row(item)[0] - mean);
      }
      variance = squares / count;
      unbiased = variance * count / std::max(count - 1.0, 1.0);
    }
    statistics[2 * o] = static_cast<float>(mean);
    statistics[2 * o + 1] = static_cast<float>(1.0 / std::sqrt(variance + kEpsilon));
    m.moved_mean[o] = static_cast<float>(m.mean[o] + kMomentum * (mean - m.mean[o]));
    m.moved_variance[o] = static_cast<float>(m.variance[o] + kMomentum * (unbiased - m.variance[o]));
  }
}

// The way back through norm and ReLU, whose result was x.
class NormGradient {
 public:
  NormGradient(const Norm &norm, int64_t items, int64_t channels, int64_t frames)
      : norm_(norm),
        items_(items),
        channels_(channels),
        frames_(frames),
        sums_(items * channels * 2),
        scale_(channels),
        add_(channels),
        by_(channels) {}

  // Of one row the sums of dy and of dy (x - mean of the channel).
  void Set(int64_t item, int64_t c, double sum, double product) {
    sums_[(item * channels_ + c) * 2] = sum;
    sums_[(item * channels_ + c) * 2 + 1] = product;
  }
  void Add(int64_t item, int64_t c, const float *dy, const float *x) {
    const float mean = norm_.statistics[2 * c];
    float sum = 0.0f, product = 0.0f;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t t = 0; t < frames_; ++t) {
      sum += dy[t];
      product += dy[t] * (x[t] - mean);
    }
    Set(item, c, sum, product);
  }

  // dgain and doffset, once all rows are there. Outside of training the statistics do not depend on x.
  void Finish(bool training, float *dgain, float *doffset) {
    const double count = static_cast<double>(items_ * frames_);
    for (int64_t c = 0; c < channels_; ++c) {
      const double mean = norm_.statistics[2 * c], inverse = norm_.statistics[2 * c + 1];
      double sum = 0.0, product = 0.0;
      for (int64_t item = 0; item < items_; ++item) {
        sum += sums_[(item * channels_ + c) * 2];
        product += sums_[(item * channels_ + c) * 2 + 1];
      }
      product *= inverse;
      doffset[c] = static_cast<float>(sum);
      dgain[c] = static_cast<float>(product);
      const double scale = norm_.gain[c] * inverse, by = -scale * inverse * product / count;
      scale_[c] = static_cast<float>(scale);
      by_[c] = training ? static_cast<float>(by) : 0.0f;
      add_[c] = training ? static_cast<float>(-scale * sum / count - by * mean) : 0.0f;
    }
  }

  // Of factor dy + summand, the gradient before the ReLU; its sum.
  template <typename Number>
  float Row(int64_t c, const float *dy, float factor, float summand, const float *x, Number *to) const {
    const float scale = scale_[c] * factor, add = add_[c] + scale_[c] * summand, by = by_[c];
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < frames_; ++t) {
      const float d = x[t] > 0.0f ? scale * dy[t] + add + by * x[t] : 0.0f;
      sum += d;
      to[t] = Rounded<Number>(d);
    }
    return sum;
  }

 private:
  Norm norm_;
  int64_t items_, channels_, frames_;
  std::vector<double> sums_;
  std::vector<float> scale_, add_, by_;
};

// dweight and dbias. errors(item, o, to) writes the gradients (T) before the ReLU of a row and gives their sum,
// under(item, &own) the matrix of an item as in Forward. then(item, weight, errors (O, T)) is called for each item.
template <typename Number, typename Errors, typename Under, typename Then>
void Backward(const Layer &l, const Errors &errors, const Under &under, const Then &then, float *dweight,
              float *dbias) {
  Numbers<Number> own_weight;
  const Number *weight = Matrix(l.weight, l.weights(), &own_weight);
  const Numbers<Number> all = AllocateOf<Number>(l.items * l.outputs * l.frames);
  std::vector<Numbers<Number>> own(l.items);
  std::vector<const Number *> matrices(l.items);
  std::vector<float> sums(l.items * l.outputs);
  Parallel(l.items, [&](int64_t item) {
    Number *to = all.get() + item * l.outputs * l.frames;
    for (int64_t o = 0; o < l.outputs; ++o) sums[item * l.outputs + o] = errors(item, o, to + o * l.frames);
    matrices[item] = under(item, &own[item]);
    then(item, weight, static_cast<const Number *>(to));
  });
  std::fill_n(dbias, l.outputs, 0.0f);
  for (int64_t i = 0; i < l.items * l.outputs; ++i) dbias[i % l.outputs] += sums[i];
  const int64_t parts = Parts(1, l.outputs);
  Parallel(parts, [&](int64_t part) {
    const int64_t first = l.outputs * part / parts, last = l.outputs * (part + 1) / parts;
    for (int64_t item = 0; item < l.items; ++item) {
      MultiplyTransposed(last - first, l.rows(), l.frames, all.get() + (item * l.outputs + first) * l.frames, l.frames,
                         matrices[item], l.frames, item > 0 ? 1.0f : 0.0f, dweight + first * l.rows(), l.rows());
    }
  });
}
}  // namespace norm_layer

#endif  // UTILS_CPU_OPS_NORM_LAYER_H_
