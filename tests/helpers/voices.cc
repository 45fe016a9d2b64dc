// Windows and levels of the C++ runner for a test of Python: with a function of Python's in place of the graph.
#include <algorithm>

#include "error.h"
#include "voice_windows.h"

using Network = void (*)(const float *mixture, long samples, float *speakers);  // (S,) -> (C, S)

// Pushes `samples` in blocks of `block`; writes the mixture (S,) and then the speakers (C, S) to `results`. Returns the
// number of samples that came back, or -1 after an error of the user.
extern "C" long Separated(Network network, long speakers, long size, long overlap, long stride, const float *samples,
                          long count, long block, float *results) {
  const auto separate = [=](const std::vector<float> &mixture) {
    const auto length = static_cast<long>(mixture.size());
    std::vector<float> flat(speakers * length);
    network(mixture.data(), length, flat.data());
    Signals signals;
    for (long i = 0; i < speakers; ++i) {
      signals.emplace_back(flat.begin() + i * length, flat.begin() + (i + 1) * length);
    }
    return signals;
  };
  long done = 0;
  VoiceWindows windows(separate, size, overlap, stride, [&](const std::vector<float> &mixture, const Signals &signals) {
    std::copy(mixture.begin(), mixture.end(), results + done);
    for (long i = 0; i < speakers; ++i) {
      std::copy(signals[i].begin(), signals[i].end(), results + (i + 1) * count + done);
    }
    done += static_cast<long>(mixture.size());
  });
  try {
    for (long start = 0; start < count; start += block) {
      windows.Push({samples + start, samples + std::min(count, start + block)});
    }
    windows.Finish();
  } catch (const UserError &) {
    return -1;
  }
  return done;
}

// The gains of speakers (C, S) whose sum is to be the mixture (S,), which are added in two parts.
extern "C" void Gains(long speakers, long count, const float *mixture, const float *separated, double *gains) {
  Level level(speakers);
  for (const auto &[start, stop] : {std::pair{0L, count / 3}, std::pair{count / 3, count}}) {
    Signals signals;
    for (long i = 0; i < speakers; ++i) {
      signals.emplace_back(separated + i * count + start, separated + i * count + stop);
    }
    level.Add({mixture + start, mixture + stop}, signals);
  }
  const std::vector<double> found = level.Gains();
  std::copy(found.begin(), found.end(), gains);
}
