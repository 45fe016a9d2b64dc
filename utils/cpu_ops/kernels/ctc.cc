// The loss of connectionist temporal classification and its gradient (Graves et al., ICML 2006, section 4).
//
// Forward and backward variables as logarithms; those of a frame are kept relative to the largest, or long recordings
// would leave floats no digits. States are the labels with a blank before, between and behind them.
#include "common.h"

namespace {
constexpr float kNever = -1e30f;  // the logarithm of zero
constexpr int64_t kSpare = 2;     // states before the first, which nothing reaches

// ln(x) for normal x > 0, in a form that compilers turn into vector instructions (the Cephes library's polynomial).
inline float Log(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const int32_t shifted = bits - 0x3f3504f3;  // of the root of a half
  const float power = static_cast<float>(shifted >> 23);
  bits = (shifted & 0x007fffff) + 0x3f3504f3;
  std::memcpy(&x, &bits, sizeof(x));
  x -= 1.0f;
  float value = 7.0376836292e-2f;
  value = value * x - 1.1514610310e-1f;
  value = value * x + 1.1676998740e-1f;
  value = value * x - 1.2420140846e-1f;
  value = value * x + 1.4249322787e-1f;
  value = value * x - 1.6668057665e-1f;
  value = value * x + 2.0000714765e-1f;
  value = value * x - 2.4999993993e-1f;
  value = value * x + 3.3333331174e-1f;
  const float square = x * x;
  return power * 0.693359375f + (x + (value * x * square - 0.5f * square - power * 2.12194440e-4f));
}

inline float LogSum(float a, float b, float c) {
  const float most = std::max(std::max(a, b), c);
  return most + Log(Exp(a - most) + Exp(b - most) + Exp(c - most));
}

// An utterance: its log probabilities at frame t and label k are row(t)[k].
struct Utterance {
  const float *log_probs;
  int64_t step, frames;         // numbers from one frame to the next; how many frames there are
  std::vector<int32_t> states;  // the label of each
  std::vector<float> skip;      // 0 where a state is reached from the last but one, else kNever

  Utterance(const float *log_probs, int64_t step, int64_t frames, const int32_t *text, int64_t count, int32_t blank)
      : log_probs(log_probs), step(step), frames(frames), states(2 * count + 1, blank), skip(2 * count + 1, kNever) {
    for (int64_t i = 0; i < count; ++i) {
      states[2 * i + 1] = text[i];
      if (i > 0 && text[i] != text[i - 1]) skip[2 * i + 1] = 0.0f;
    }
  }

  int64_t size() const { return static_cast<int64_t>(states.size()); }

  // Whether a log probability of one of its states is NaN.
  bool HasNan() const {
    std::vector<int32_t> used = states;
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    for (int64_t t = 0; t < frames; ++t) {
      for (const int32_t label : used) {
        if (std::isnan(log_probs[t * step + label])) return true;
      }
    }
    return false;
  }

  // The log probabilities of the states at a frame.
  void Emit(int64_t t, float *to) const {
    const float *row = log_probs + t * step;
    for (int64_t s = 0; s < size(); ++s) to[s] = std::max(row[states[s]], kNever);
  }
};

// Takes the largest number away from all; it.
inline float Level(float *x, int64_t count) {
  float most = x[0];
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; ++i) most = std::max(most, x[i]);
  for (int64_t i = 0; i < count; ++i) x[i] -= most;
  return most;
}

// The loss of an utterance; gradient (frames, labels), rows `step` apart, with respect to the log probabilities, zeros
// where the loss is infinite; both NaN where a log probability of the states is. The gradient must be zeros before.
float Loss(const Utterance &u, int64_t labels, float *gradient) {
  const int64_t states = u.size(), width = states + kSpare;
  if (u.frames == 0) return states == 1 ? 0.0f : INFINITY;
  if (u.HasNan()) {
    for (int64_t t = 0; t < u.frames; ++t) std::fill_n(gradient + t * u.step, labels, NAN);
    return NAN;
  }
  const Memory ahead = Allocate(u.frames * width), emitted = Allocate(states), back = Allocate(2 * width);
  std::fill_n(ahead.get(), u.frames * width, kNever);
  std::vector<double> level(u.frames);
  float *now = ahead.get() + kSpare;
  u.Emit(0, emitted.get());
  for (int64_t s = 0; s < std::min<int64_t>(2, states); ++s) now[s] = emitted[s];
  level[0] = Level(now, states);
  for (int64_t t = 1; t < u.frames; ++t) {
    const float *before = now;
    now += width;
    u.Emit(t, emitted.get());
#pragma omp simd
    for (int64_t s = 0; s < states; ++s) {
      now[s] = LogSum(before[s], before[s - 1], before[s - 2] + u.skip[s]) + emitted[s];
    }
    level[t] = level[t - 1] + Level(now, states);
  }
  const double whole = level.back() + LogSum(now[states - 1], now[states - 2], kNever);
  if (!(whole > 0.1 * kNever)) return INFINITY;

  // of what follows a state, the frame's own probability left out; states behind the last are never reached
  std::fill_n(back.get(), 2 * width, kNever);
  float *after = back.get(), *next = after + width;
  std::fill_n(after + std::max<int64_t>(0, states - 2), std::min<int64_t>(2, states), 0.0f);
  std::vector<float> skip(u.skip.begin() + std::min<int64_t>(2, states), u.skip.end());  // to the next but one
  skip.resize(states, kNever);
  double behind = 0.0;
  const Memory share = Allocate(states);
  for (int64_t t = u.frames - 1;; --t, now -= width) {
    const float rest = static_cast<float>(level[t] + behind - whole);
#pragma omp simd
    for (int64_t s = 0; s < states; ++s) share[s] = Exp(now[s] + after[s] + rest);
    float *row = gradient + t * u.step;
    for (int64_t s = 0; s < states; ++s) row[u.states[s]] -= share[s];
    if (t == 0) break;
    u.Emit(t, emitted.get());
    for (int64_t s = 0; s < states; ++s) after[s] += emitted[s];
#pragma omp simd
    for (int64_t s = 0; s < states; ++s) next[s] = LogSum(after[s], after[s + 1], after[s + 2] + skip[s]);
    std::swap(after, next);
    behind += Level(after, states);
  }
  return static_cast<float>(-whole);
}
}  // namespace

// log probabilities (T, B, K), labels (B, S) int32, frames (B) int32, counts (B) int32 -> loss (B), its gradient (T, B,
// K).
extern "C" Shapes CtcInferShape(int *ndims, int64_t **shapes, AotExtra *) {
  return {{shapes[0][1]}, ShapeOf(0, ndims, shapes)};
}

extern "C" int Ctc(int, void **data, int *, int64_t **shapes, const char **, void *, void *extra) {
  const int64_t steps = shapes[0][0], batch = shapes[0][1], labels = shapes[0][2], longest = shapes[1][1];
  const auto *log_probs = static_cast<const float *>(data[0]);
  const auto *text = static_cast<const int32_t *>(data[1]), *frames = static_cast<const int32_t *>(data[2]),
             *counts = static_cast<const int32_t *>(data[3]);
  auto *loss = static_cast<float *>(data[4]), *gradient = static_cast<float *>(data[5]);
  const auto blank = static_cast<int32_t>(Settings(extra)[0]);
  std::fill_n(gradient, steps * batch * labels, 0.0f);
  Parallel(batch, [&](int64_t b) {
    const Utterance utterance(log_probs + b * labels, batch * labels, std::min<int64_t>(frames[b], steps),
                              text + b * longest, std::min<int64_t>(counts[b], longest), blank);
    loss[b] = Loss(utterance, labels, gradient + b * labels);
  });
  return 0;
}
