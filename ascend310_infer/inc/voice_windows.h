// Recordings of any length through a graph that separates speakers: windows that overlap, joined, as
// conv_tasnet/src/windows.py does it.
#ifndef ASCEND310_INFER_INC_VOICE_WINDOWS_H_
#define ASCEND310_INFER_INC_VOICE_WINDOWS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "level.h"

// The speakers of a mixture, as long as it, in any order and at any level and polarity.
using Separate = std::function<Signals(const std::vector<float> &mixture)>;

// Separates window by window: each is brought to the level of its mixture, takes the order of speakers that fits the
// window before best where the two overlap, and is faded in there. Holds two windows in memory.
class VoiceWindows {
 public:
  // Pieces of the mixture and of the speakers, each sample once.
  using Take = std::function<void(const std::vector<float> &mixture, const Signals &speakers)>;

  // Samples of a window and of its overlap with the next, whole strides of the network; without overlap recordings must
  // fit into one window.
  VoiceWindows(Separate separate, int64_t size, int64_t overlap, int64_t stride, Take take);

  // The next samples of the recording. UserError where they need a second window and there is no overlap.
  void Push(const std::vector<float> &samples);

  // After the last: what is left.
  void Finish();

 private:
  void Run(int64_t start, std::vector<float> mixture, bool is_last);
  void Join(Signals *speakers, int64_t first) const;

  Separate separate_;
  int64_t size_;
  int64_t overlap_;
  int64_t stride_;
  Take take_;
  std::vector<float> fade_;     // gains of the window that follows, over the overlap
  std::vector<float> waiting_;  // samples from `start_` on
  int64_t start_ = 0;
  int64_t following_ = 0;  // where the next window begins
  Signals held_;           // the end of the last window, from `position_` on; empty before the first
  int64_t position_ = 0;
};

#endif  // ASCEND310_INFER_INC_VOICE_WINDOWS_H_
