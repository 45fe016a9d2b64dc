// A block of a temporal convolutional network (Conv-TasNet's), and its gradients, in few passes over memory.
//
//   hidden = expand x;  middle = depthwise norm PReLU hidden;  y = x + residual norm PReLU middle;  skip likewise
//
// Between the matrix products everything is computed row by row from `hidden` and `middle`, which stay in a core's
// cache; layer by layer, the same arithmetic waits for memory. Sums are taken over pieces of time and added in their
// order, so that the number of threads changes nothing.
//
// x (M, B, T), mask (M, 1, T) of the frames that count (0: padding), then the weights:
//   expand (H, B) and bias (H), slope (1), gain and bias (H), depthwise (H, P) and bias (H), slope (1), gain and
//   bias (H), residual (B, H) and bias (B), skip (S, H) and bias (S)
// -> y (M, B, T), skip (M, S, T), hidden (M, H, T), middle (M, H, T), and of each norm mean and 1 / deviation of the
// frames (M, 4, T).
// settings: dilation, zeros to the left, what a norm takes mean and deviation of (Over).
#include "common.h"

namespace {
constexpr int64_t kPiece = 512;  // frames of a piece, at most: H rows of them fit into a core's cache

// The operator's inputs in their order; the gradient's follow dy and dskip.
enum Input {
  kX,
  kMask,
  kExpand,
  kExpandBias,
  kSlope1,
  kGain1,
  kBias1,
  kFilter,
  kFilterBias,
  kSlope2,
  kGain2,
  kBias2,
  kResidual,
  kResidualBias,
  kSkip,
  kSkipBias,
  kInputs
};

constexpr int64_t kMore = 2;  // inputs that TemporalBlockStep has: three states in place of the mask

// All frames that count (gLN), a frame and those before it (cgLN), the frame alone (cLN); always all channels.
enum Over { kAllFrames, kFramesSoFar, kOneFrame };

struct Block {
  int64_t items, narrow, frames, wide, skip, taps, dilation, left;  // M, B, T, H, S, P
  int64_t over;
  int64_t pieces;  // of an item

  Block(int64_t **shapes, const std::vector<int64_t> &settings)
      : items(shapes[kX][0]),
        narrow(shapes[kX][1]),
        frames(shapes[kX][2]),
        wide(shapes[kExpand][0]),
        skip(shapes[kSkip][0]),
        taps(shapes[kFilter][3]),
        dilation(settings[0]),
        left(settings[1]),
        over(settings.size() > 2 ? settings[2] : static_cast<int64_t>(kAllFrames)),  // graphs of before have gLN
        pieces((frames + kPiece - 1) / kPiece) {}

  int64_t size() const { return items * wide * frames; }
  int64_t context() const { return (taps - 1) * dilation; }

  // Calls task(piece of all, item, first frame, frames) for all pieces, on all threads.
  template <typename Task>
  void InPieces(const Task &task) const {
    Parallel(items * pieces, [&](int64_t i) {
      const int64_t part = i % pieces, first = frames * part / pieces;
      task(i, i / pieces, first, frames * (part + 1) / pieces - first);
    });
  }
};

// Sum over t < count of visit(t), in float: `count` is a piece.
template <typename Visit>
inline float PieceSum(int64_t count, const Visit &visit) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < count; ++t) sum += visit(t);
  return sum;
}

// Sums of each piece, `width` numbers, added up: for an item, or for all.
std::vector<double> Total(const std::vector<double> &sums, int64_t width, int64_t first, int64_t last) {
  std::vector<double> total(width);
  for (int64_t piece = first; piece < last; ++piece) {
    for (int64_t i = 0; i < width; ++i) total[i] += sums[piece * width + i];
  }
  return total;
}

// A norm over the rows of an item, after a PReLU: (PReLU(x) - mean) * scale * gain + bias.
struct Norm {
  float slope;
  const float *gain, *bias, *statistics;  // (M, 4, T): mean and scale of this norm are two rows, one after the other
  int64_t frames;

  const float *mean(int64_t item) const { return statistics + 4 * item * frames; }
  const float *scale(int64_t item) const { return mean(item) + frames; }

  // One row c of an item for frames [first, first + count), to which x, share and `to` begin; zero in padding.
  void Row(int64_t item, int64_t c, int64_t first, int64_t count, const float *x, const float *share, float *to) const {
    const float *means = mean(item) + first, *scales = scale(item) + first;
    const float factor = gain[c], offset = bias[c], bend = slope;
    for (int64_t t = 0; t < count; ++t) {
      const float y = (ParametricRelu(x[t], bend) - means[t]) * (scales[t] * factor) + offset;
      to[t] = share[t] > 0.0f ? y : 0.0f;
    }
  }

  // All rows (width, count) of a piece, also of padding. x: (width, frames), from `first` on.
  template <typename Number>
  Numbers<Number> Rows(int64_t item, int64_t first, int64_t count, const float *x, int64_t width) const {
    Numbers<Number> rows = AllocateOf<Number>(width * count);
    const float *means = mean(item) + first, *scales = scale(item) + first;
    for (int64_t c = 0; c < width; ++c) {
      const float factor = gain[c], offset = bias[c], bend = slope, *from = x + c * frames;
      Number *to = rows.get() + c * count;
      for (int64_t t = 0; t < count; ++t) {
        to[t] = Rounded<Number>((ParametricRelu(from[t], bend) - means[t]) * (scales[t] * factor) + offset);
      }
    }
    return rows;
  }
};

// Two sums over the channels of each frame of each item: (M, 2, T).
struct FrameSums {
  int64_t frames;
  std::vector<float> sums;

  explicit FrameSums(const Block &b) : frames(b.frames), sums(2 * b.items * b.frames) {}

  float *first(int64_t item) { return sums.data() + 2 * item * frames; }
  float *second(int64_t item) { return first(item) + frames; }
};

// Adds one row, for `count` frames from x on, to the sums of what the PReLU gives and of its squares.
void AddSums(const float *x, float slope, int64_t count, float *sum, float *squares) {
#pragma omp simd
  for (int64_t t = 0; t < count; ++t) {
    const float value = ParametricRelu(x[t], slope);
    sum[t] += value;
    squares[t] += value * value;
  }
}

// Means and 1 / deviations of each frame, from the sums of AddSums.
void Statistics(const Block &b, FrameSums *sums, const std::vector<float> &shares, float *statistics) {
  for (int64_t item = 0; item < b.items; ++item) {
    const float *sum = sums->first(item), *squares = sums->second(item), *share = shares.data() + item * b.frames;
    float *means = statistics + 4 * item * b.frames, *scales = means + b.frames;
    double total = 0.0, total_squares = 0.0;
    for (int64_t t = 0; t < b.frames; ++t) {
      const double part = b.over == kAllFrames ? share[t] : 1.0;
      total = part * sum[t] + (b.over == kOneFrame ? 0.0 : total);
      total_squares = part * squares[t] + (b.over == kOneFrame ? 0.0 : total_squares);
      const int64_t count = b.over == kFramesSoFar ? b.wide * (t + 1) : b.wide;
      const double mean = total / count;
      means[t] = static_cast<float>(mean);
      scales[t] = InverseDeviation(total_squares / count - mean * mean);
    }
    if (b.over == kAllFrames) {  // those of the last frame are of all
      std::fill_n(means, b.frames, means[b.frames - 1]);
      std::fill_n(scales, b.frames, scales[b.frames - 1]);
    }
  }
}

// The row c of the first norm that the taps see for frames [first, first + count): context() more, zeros beyond.
void NormalisedRow(const Block &b, const Norm &norm, int64_t item, int64_t c, const float *hidden, const float *share,
                   int64_t first, int64_t count, float *to) {
  const int64_t begin = first - b.left, all = count + b.context();
  const int64_t from = std::clamp<int64_t>(-begin, 0, all), until = std::clamp<int64_t>(b.frames - begin, from, all);
  std::fill(to, to + from, 0.0f);
  norm.Row(item, c, begin + from, until - from, hidden + begin + from, share + begin + from, to + from);
  std::fill(to + until, to + all, 0.0f);
}

// A channel of the first norm in a piece of an item, as the taps see it.
struct Stretch {
  int64_t piece, channel, start, first, count;  // start: of the channel, in memory; the piece follows `first` after it
  const float *share;                           // of the item
  const float *row;                             // count + context()
};

// Calls task(stretch) for all channels of all pieces, on all threads.
template <typename Task>
void InStretches(const Block &b, const Norm &norm, const float *hidden, const std::vector<float> &shares,
                 const Task &task) {
  b.InPieces([&](int64_t piece, int64_t item, int64_t first, int64_t count) {
    const Memory row = Allocate(count + b.context());
    const float *share = shares.data() + item * b.frames;
    for (int64_t c = 0; c < b.wide; ++c) {
      const int64_t start = (item * b.wide + c) * b.frames;
      NormalisedRow(b, norm, item, c, hidden + start, share, first, count, row.get());
      task(Stretch{piece, c, start, first, count, share, row.get()});
    }
  });
}
}  // namespace

extern "C" Shapes TemporalBlockInferShape(int *, int64_t **shapes, AotExtra *) {
  const int64_t items = shapes[kX][0], frames = shapes[kX][2], wide = shapes[kExpand][0];
  return {{items, shapes[kX][1], frames},
          {items, shapes[kSkip][0], frames},
          {items, wide, frames},
          {items, wide, frames},
          {items, 4, frames}};
}

namespace {
// The depthwise convolution of a channel for `count` frames, from what its taps see: `row` is count + context() long.
void Convolve(const Block &b, const float *filter, const float *bias, int64_t channel, const float *row, int64_t count,
              float *to) {
  std::fill_n(to, count, bias[channel]);
  for (int64_t k = 0; k < b.taps; ++k) {
    const float tap = filter[channel * b.taps + k], *from = row + k * b.dilation;
    for (int64_t t = 0; t < count; ++t) to[t] += tap * from[t];
  }
}

// x and the residual, and the skip, for `count` frames from `normalised` (H, count); the others have b.frames in a row.
// in(Input): the weights; to_y, to_skip: the matrices of them.
template <typename Number, typename Weights>
void Outputs(const Block &b, const Weights &in, const Number *to_y, const Number *to_skip, const Number *normalised,
             int64_t count, const float *x, float *y, float *skip) {
  for (int64_t c = 0; c < b.narrow; ++c) {
    const float add = in(kResidualBias)[c];
    for (int64_t t = 0; t < count; ++t) y[c * b.frames + t] = x[c * b.frames + t] + add;
  }
  Multiply(b.narrow, count, b.wide, to_y, b.wide, normalised, count, 1.0f, y, b.frames);
  for (int64_t c = 0; c < b.skip; ++c) std::fill_n(skip + c * b.frames, count, in(kSkipBias)[c]);
  Multiply(b.skip, count, b.wide, to_skip, b.wide, normalised, count, 1.0f, skip, b.frames);
}

// Numbers: what the products of matrices take.
template <typename Number>
void Forward(void **data, int64_t **shapes, void *extra) {
  const Block b(shapes, Settings(extra));
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[i]); };
  const auto out = [&](int64_t i) { return static_cast<float *>(data[kInputs + i]); };
  float *y = out(0), *skip = out(1), *hidden = out(2), *middle = out(3), *statistics = out(4);
  const std::vector<float> shares = Shares(in(kMask), b.items, b.frames);
  const Norm first_norm{*in(kSlope1), in(kGain1), in(kBias1), statistics, b.frames};
  const Norm second_norm{*in(kSlope2), in(kGain2), in(kBias2), statistics + 2 * b.frames, b.frames};
  FrameSums sums(b), more(b);
  Numbers<Number> own_expand, own_residual, own_skip;
  const Number *expand = Matrix(in(kExpand), b.wide * b.narrow, &own_expand);
  const Number *to_y = Matrix(in(kResidual), b.narrow * b.wide, &own_residual);
  const Number *to_skip = Matrix(in(kSkip), b.skip * b.wide, &own_skip);
  b.InPieces([&](int64_t, int64_t item, int64_t first, int64_t count) {
    float *to = hidden + item * b.wide * b.frames + first;
    for (int64_t c = 0; c < b.wide; ++c) std::fill_n(to + c * b.frames, count, in(kExpandBias)[c]);
    Numbers<Number> own;
    int64_t stride = b.frames;
    const Number *x = Matrix(in(kX) + item * b.narrow * b.frames + first, b.narrow, count, &stride, &own);
    Multiply(b.wide, count, b.narrow, expand, b.narrow, x, stride, 1.0f, to, b.frames);
    for (int64_t c = 0; c < b.wide; ++c) {
      AddSums(to + c * b.frames, first_norm.slope, count, sums.first(item) + first, sums.second(item) + first);
    }
  });
  Statistics(b, &sums, shares, statistics);
  InStretches(b, first_norm, hidden, shares, [&](const Stretch &s) {
    float *to = middle + s.start + s.first;
    Convolve(b, in(kFilter), in(kFilterBias), s.channel, s.row, s.count, to);
    const int64_t item = s.piece / b.pieces;
    AddSums(to, second_norm.slope, s.count, more.first(item) + s.first, more.second(item) + s.first);
  });
  Statistics(b, &more, shares, statistics + 2 * b.frames);
  b.InPieces([&](int64_t, int64_t item, int64_t first, int64_t count) {
    const auto normalised =
        second_norm.Rows<Number>(item, first, count, middle + item * b.wide * b.frames + first, b.wide);
    const int64_t begin = item * b.narrow * b.frames + first;
    Outputs(b, in, to_y, to_skip, normalised.get(), count, in(kX) + begin, y + begin,
            skip + item * b.skip * b.frames + first);
  });
}
}  // namespace

extern "C" int TemporalBlock(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? Forward<BFloat16> : Forward<float>)(data, shapes, extra);
  return 0;
}

// TemporalBlockStep: the frames of a recording that follow others, by a causal block with cgLN or cLN.
//
// x (1, B, T), its past: what the taps saw before of the first norm (1, H, context), and of each norm the means of its
// input and of the squares so far, and the frames that they are of (1, 3, 1); then the weights of TemporalBlock
// -> y, skip, and the past after these frames: three more as those of the inputs.
// settings: those of TemporalBlock, and how many frames a norm counts at most.
extern "C" Shapes TemporalBlockStepInferShape(int *, int64_t **shapes, AotExtra *) {
  const auto shape = [&](int64_t i) { return std::vector<int64_t>(shapes[i], shapes[i] + 3); };
  return {shape(0), {1, shapes[kMore + kSkip][0], shapes[0][2]}, shape(1), shape(2), shape(3)};
}

namespace {
// Means and 1 / deviations (2, T) of each frame of `rows` (H, T), a row every `stride` numbers, and the state after
// them.
std::vector<float> StatisticsSoFar(const Block &b, const float *rows, int64_t stride, float slope, const float *before,
                                   int64_t most, float *after) {
  FrameSums sums(b);
  for (int64_t c = 0; c < b.wide; ++c) AddSums(rows + c * stride, slope, b.frames, sums.first(0), sums.second(0));
  std::vector<float> statistics(2 * b.frames);
  const bool so_far = b.over == kFramesSoFar;
  double count = so_far ? before[2] : 0.0, total = before[0] * count, squares = before[1] * count;
  for (int64_t t = 0; t < b.frames; ++t) {
    const double frame = sums.first(0)[t] / b.wide, square = sums.second(0)[t] / b.wide;
    count = so_far ? count + 1.0 : 1.0;
    total = so_far ? total + frame : frame;
    squares = so_far ? squares + square : square;
    const double mean = total / count;
    statistics[t] = static_cast<float>(mean);
    statistics[b.frames + t] = InverseDeviation(squares / count - mean * mean);
  }
  std::copy_n(before, 3, after);
  if (so_far && b.frames > 0) {
    after[0] = static_cast<float>(total / count);
    after[1] = static_cast<float>(squares / count);
    after[2] = static_cast<float>(std::min(count, static_cast<double>(most)));
  }
  return statistics;
}

template <typename Number>
void Step(void **data, int64_t **shapes, void *extra) {
  const auto settings = Settings(extra);
  std::vector<int64_t *> as_block(shapes + kMore, shapes + kMore + kInputs);
  as_block[kX] = shapes[0];
  const Block b(as_block.data(), settings);
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[kMore + i]); };  // weights
  const auto state = [&](int64_t i) { return static_cast<const float *>(data[1 + i]); };
  const auto out = [&](int64_t i) { return static_cast<float *>(data[kMore + kInputs + i]); };
  const float *x = static_cast<const float *>(data[0]);
  const int64_t frames = b.frames, context = b.context(), all = context + frames;
  const std::vector<float> ones(frames, 1.0f);
  Numbers<Number> own_expand, own_residual, own_skip, own;
  const Number *expand = Matrix(in(kExpand), b.wide * b.narrow, &own_expand);
  int64_t stride = frames;
  const Number *columns = Matrix(x, b.narrow, frames, &stride, &own);
  const Memory hidden = Allocate(b.wide * all), middle = Allocate(b.wide * frames);
  for (int64_t c = 0; c < b.wide; ++c) {
    std::copy_n(state(0) + c * context, context, hidden.get() + c * all);
    std::fill_n(hidden.get() + c * all + context, frames, in(kExpandBias)[c]);
  }
  Multiply(b.wide, frames, b.narrow, expand, b.narrow, columns, stride, 1.0f, hidden.get() + context, all);
  const auto first = StatisticsSoFar(b, hidden.get() + context, all, *in(kSlope1), state(1), settings[3], out(3));
  const Norm first_norm{*in(kSlope1), in(kGain1), in(kBias1), first.data(), frames};
  for (int64_t c = 0; c < b.wide; ++c) {
    float *row = hidden.get() + c * all, *to = middle.get() + c * frames;
    first_norm.Row(0, c, 0, frames, row + context, ones.data(), row + context);
    std::copy_n(row + frames, context, out(2) + c * context);
    Convolve(b, in(kFilter), in(kFilterBias), c, row, frames, to);
  }
  const auto second = StatisticsSoFar(b, middle.get(), frames, *in(kSlope2), state(2), settings[3], out(4));
  const Norm second_norm{*in(kSlope2), in(kGain2), in(kBias2), second.data(), frames};
  const auto normalised = second_norm.Rows<Number>(0, 0, frames, middle.get(), b.wide);
  const Number *to_y = Matrix(in(kResidual), b.narrow * b.wide, &own_residual);
  const Number *to_skip = Matrix(in(kSkip), b.skip * b.wide, &own_skip);
  Outputs(b, in, to_y, to_skip, normalised.get(), frames, x, out(0), out(1));
}
}  // namespace

extern "C" int TemporalBlockStep(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? Step<BFloat16> : Step<float>)(data, shapes, extra);
  return 0;
}

namespace {
// The way back through a norm: what its sums are made of, and the gradients that follow from them.
struct NormGradient {
  const Block &b;
  const Norm &norm;
  std::vector<double> sums;    // (pieces, 2 H): of d, and of d times the normalised x
  FrameSums by_frames;         // of gain d, and of gain d (x - mean); later what they give: see Finish
  std::vector<double> slopes;  // of each piece

  NormGradient(const Block &block, const Norm &norm)
      : b(block),
        norm(norm),
        sums(block.items * block.pieces * 2 * block.wide),
        by_frames(block),
        slopes(block.items * block.pieces) {}

  void AddSums(int64_t piece, int64_t item, int64_t c, int64_t first, int64_t count, const float *x, const float *d) {
    const float *means = norm.mean(item) + first, *scales = norm.scale(item) + first;
    const float slope = norm.slope, gain = norm.gain[c];
    float *of_frame = by_frames.first(item) + first, *products = by_frames.second(item) + first;
    float sum = 0.0f, product = 0.0f;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t t = 0; t < count; ++t) {
      const float part = d[t] * (ParametricRelu(x[t], slope) - means[t]);
      sum += d[t];
      product += part * scales[t];
      of_frame[t] += gain * d[t];
      products[t] += gain * part;
    }
    sums[piece * 2 * b.wide + c] = sum;
    sums[(piece * 2 + 1) * b.wide + c] = product;
  }

  // Once all pieces have their sums: dgain and dbias, and in by_frames what a frame's rows get through the mean and the
  // deviation of this frame and, where they count it too, of others: first + second (x - mean).
  void Finish(const std::vector<float> &shares, float *dgain, float *dbias) {
    for (int64_t item = 0; item < b.items; ++item) {
      const float *means = norm.mean(item), *scales = norm.scale(item), *share = shares.data() + item * b.frames;
      float *first = by_frames.first(item), *second = by_frames.second(item);
      double by_mean = 0.0, by_square = 0.0;  // d of mean and of the mean square, over what they are means of
      for (int64_t t = b.frames - 1; t >= 0; --t) {
        const double scale = scales[t], cube = scale * scale * scale * second[t];
        const int64_t count = b.over == kFramesSoFar ? b.wide * (t + 1) : b.wide;
        by_mean = (means[t] * cube - scale * first[t]) / count + (b.over == kOneFrame ? 0.0 : by_mean);
        by_square = -cube / count + (b.over == kOneFrame ? 0.0 : by_square);
        if (b.over != kAllFrames) {
          first[t] = static_cast<float>(by_mean + by_square * means[t]);
          second[t] = static_cast<float>(by_square);
        }
      }
      for (int64_t t = 0; t < b.frames && b.over == kAllFrames; ++t) {
        first[t] = static_cast<float>(share[t] * (by_mean + by_square * means[t]));
        second[t] = static_cast<float>(share[t] * by_square);
      }
    }
    const auto total = Total(sums, 2 * b.wide, 0, b.items * b.pieces);
    for (int64_t c = 0; c < b.wide; ++c) {
      dbias[c] = static_cast<float>(total[c]);
      dgain[c] = static_cast<float>(total[b.wide + c]);
    }
  }

  // d of one row, of the norm's result, becomes that of x before the PReLU; returns its sum.
  float Row(int64_t piece, int64_t item, int64_t c, int64_t first, int64_t count, const float *x, float *d) {
    const float *means = norm.mean(item) + first, *scales = norm.scale(item) + first;
    const float *add = by_frames.first(item) + first, *slant = by_frames.second(item) + first;
    const float gain = norm.gain[c], slope = norm.slope;
    float bent = 0.0f, sum = 0.0f;
#pragma omp simd reduction(+ : bent, sum)
    for (int64_t t = 0; t < count; ++t) {
      const float by = gain * scales[t] * d[t] + add[t] + slant[t] * (ParametricRelu(x[t], slope) - means[t]);
      bent += std::min(x[t], 0.0f) * by;
      d[t] = x[t] > 0.0f ? by : slope * by;
      sum += d[t];
    }
    slopes[piece] += bent;
    return sum;
  }

  float slope() const { return static_cast<float>(std::accumulate(slopes.begin(), slopes.end(), 0.0)); }
};

// The sums of pieces (pieces, width) of float, added up in their order.
void AddPieces(const float *parts, int64_t pieces, int64_t width, float *to) {
  InBlocks(width, [&](int64_t, int64_t first, int64_t last) {
    std::copy(parts + first, parts + last, to + first);
    for (int64_t piece = 1; piece < pieces; ++piece) {
      for (int64_t i = first; i < last; ++i) to[i] += parts[piece * width + i];
    }
  });
}

template <typename Number>
void Backward(void **data, int64_t **shapes, void *extra) {
  const Block b(shapes + 2, Settings(extra));
  const auto in = [&](int64_t i) { return static_cast<const float *>(data[2 + i]); };
  const auto out = [&](int64_t i) { return static_cast<float *>(data[2 + kInputs + 3 + (i ? i - 1 : 0)]); };
  const auto *dy = static_cast<const float *>(data[0]), *dskip = static_cast<const float *>(data[1]);
  const float *hidden = in(kInputs), *middle = in(kInputs + 1), *statistics = in(kInputs + 2);
  const std::vector<float> shares = Shares(in(kMask), b.items, b.frames);
  const Norm first_norm{*in(kSlope1), in(kGain1), in(kBias1), statistics, b.frames};
  const Norm second_norm{*in(kSlope2), in(kGain2), in(kBias2), statistics + 2 * b.frames, b.frames};
  NormGradient first_back(b, first_norm), second_back(b, second_norm);
  const int64_t all = b.items * b.pieces, tall = b.narrow + b.skip;
  const Memory by_middle = Allocate(b.size()), by_hidden = Allocate(b.size());
  const auto from_residual = Turned<Number>(in(kResidual), b.narrow, b.wide);
  const auto from_skip = Turned<Number>(in(kSkip), b.skip, b.wide);
  const auto from_expand = Turned<Number>(in(kExpand), b.wide, b.narrow);
  // gradients of each piece: of the matrices, of biases and of taps
  const Memory by_outputs = Allocate(all * tall * b.wide), by_expand = Allocate(all * b.wide * b.narrow);
  const Memory by_output_bias = Allocate(all * tall), by_filter = Allocate(all * b.wide * b.taps);
  const Memory by_filter_bias = Allocate(all * b.wide), by_expand_bias = Allocate(all * b.wide);
  b.InPieces([&](int64_t piece, int64_t item, int64_t first, int64_t count) {
    const float *x = middle + item * b.wide * b.frames + first;
    const auto normalised = second_norm.Rows<Number>(item, first, count, x, b.wide);
    const float *ends[] = {dy + item * b.narrow * b.frames + first, dskip + item * b.skip * b.frames + first};
    const Number *turned[] = {from_residual.get(), from_skip.get()};
    const int64_t heights[] = {b.narrow, b.skip};
    float *d = by_middle.get() + item * b.wide * b.frames + first;
    float *weights = by_outputs.get() + piece * tall * b.wide, *biases = by_output_bias.get() + piece * tall;
    for (int end = 0; end < 2; ++end) {
      Numbers<Number> own;
      int64_t stride = b.frames;
      const Number *errors = Matrix(ends[end], heights[end], count, &stride, &own);
      Multiply(b.wide, count, heights[end], turned[end], heights[end], errors, stride, static_cast<float>(end), d,
               b.frames);
      MultiplyTransposed(heights[end], b.wide, count, errors, stride, normalised.get(), count, 0.0f, weights, b.wide);
      for (int64_t c = 0; c < heights[end]; ++c) {
        const float *row = ends[end] + c * b.frames;
        biases[c] = PieceSum(count, [&](int64_t t) { return row[t]; });
      }
      weights += heights[end] * b.wide;
      biases += heights[end];
    }
    for (int64_t c = 0; c < b.wide; ++c) {
      second_back.AddSums(piece, item, c, first, count, x + c * b.frames, d + c * b.frames);
    }
  });
  second_back.Finish(shares, out(kGain2), out(kBias2));
  b.InPieces([&](int64_t piece, int64_t item, int64_t first, int64_t count) {
    for (int64_t c = 0; c < b.wide; ++c) {
      const int64_t start = (item * b.wide + c) * b.frames + first;
      by_filter_bias[piece * b.wide + c] =
          second_back.Row(piece, item, c, first, count, middle + start, by_middle.get() + start);
    }
  });
  InStretches(b, first_norm, hidden, shares, [&](const Stretch &s) {
    const float *d = by_middle.get() + s.start, *share = s.share;
    float *to = by_hidden.get() + s.start;
    const int64_t last = s.first + s.count;
    std::fill_n(to + s.first, s.count, 0.0f);
    for (int64_t k = 0; k < b.taps; ++k) {
      const float *from = s.row + k * b.dilation, *at = d + s.first;
      by_filter[(s.piece * b.wide + s.channel) * b.taps + k] =
          PieceSum(s.count, [&](int64_t t) { return at[t] * from[t]; });
      const int64_t shift = b.left - k * b.dilation;  // frame t of the input reaches frame t + shift
      const int64_t begin = std::max(s.first, -shift), end = std::min(last, b.frames - shift);
      const float tap = in(kFilter)[s.channel * b.taps + k];
      for (int64_t t = begin; t < end; ++t) to[t] += tap * d[t + shift];
    }
    for (int64_t t = s.first; t < last; ++t) to[t] = share[t] > 0.0f ? to[t] : 0.0f;
    first_back.AddSums(s.piece, s.piece / b.pieces, s.channel, s.first, s.count, hidden + s.start + s.first,
                       to + s.first);
  });
  first_back.Finish(shares, out(kGain1), out(kBias1));
  b.InPieces([&](int64_t piece, int64_t item, int64_t first, int64_t count) {
    float *d = by_hidden.get() + item * b.wide * b.frames + first;
    for (int64_t c = 0; c < b.wide; ++c) {
      by_expand_bias[piece * b.wide + c] = first_back.Row(
          piece, item, c, first, count, hidden + (item * b.wide + c) * b.frames + first, d + c * b.frames);
    }
    const int64_t start = item * b.narrow * b.frames + first;
    for (int64_t c = 0; c < b.narrow; ++c) {
      std::copy_n(dy + start + c * b.frames, count, out(kX) + start + c * b.frames);
    }
    Numbers<Number> own_errors, own_x;
    int64_t error_stride = b.frames, stride = b.frames;
    const Number *errors = Matrix(d, b.wide, count, &error_stride, &own_errors);
    const Number *x = Matrix(in(kX) + start, b.narrow, count, &stride, &own_x);
    Multiply(b.narrow, count, b.wide, from_expand.get(), b.wide, errors, error_stride, 1.0f, out(kX) + start, b.frames);
    MultiplyTransposed(b.wide, b.narrow, count, errors, error_stride, x, stride, 0.0f,
                       by_expand.get() + piece * b.wide * b.narrow, b.narrow);
  });
  *out(kSlope1) = first_back.slope();
  *out(kSlope2) = second_back.slope();
  std::vector<float> outputs(tall * b.wide), biases(tall);
  AddPieces(by_outputs.get(), all, tall * b.wide, outputs.data());
  AddPieces(by_output_bias.get(), all, tall, biases.data());
  std::copy_n(outputs.data(), b.narrow * b.wide, out(kResidual));
  std::copy_n(outputs.data() + b.narrow * b.wide, b.skip * b.wide, out(kSkip));
  std::copy_n(biases.data(), b.narrow, out(kResidualBias));
  std::copy_n(biases.data() + b.narrow, b.skip, out(kSkipBias));
  AddPieces(by_expand.get(), all, b.wide * b.narrow, out(kExpand));
  AddPieces(by_filter.get(), all, b.wide * b.taps, out(kFilter));
  AddPieces(by_filter_bias.get(), all, b.wide, out(kFilterBias));
  AddPieces(by_expand_bias.get(), all, b.wide, out(kExpandBias));
}
}  // namespace

// dy, dskip, then what TemporalBlock takes, then hidden, middle, statistics -> dx and the gradients of the weights.
extern "C" Shapes TemporalBlockGradientInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  Shapes result = {ShapeOf(2 + kX, ndims, shapes)};
  for (int i = kExpand; i < kInputs; ++i) result.push_back(ShapeOf(2 + i, ndims, shapes));
  return result;
}

extern "C" int TemporalBlockGradient(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  (IsBFloat16(extra) ? Backward<BFloat16> : Backward<float>)(data, shapes, extra);
  return 0;
}
