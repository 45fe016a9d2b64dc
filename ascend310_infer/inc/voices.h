// The speakers of a recording, as conv_tasnet/src/inference.py separates them.
#ifndef ASCEND310_INFER_INC_VOICES_H_
#define ASCEND310_INFER_INC_VOICES_H_

#include <vector>

#include "answer.h"
#include "level.h"
#include "voice_windows.h"

// Window by window; a graph of one length takes a shorter recording over and over, for silence would be part of its
// statistics. Beside the windows nothing is held in memory.
class VoicesAnswer : public Answer {
 public:
  VoicesAnswer(const Interface &interface, WaveformGraph *graph, Outlet outlet);
  void Push(const std::vector<float> &samples) override;
  void Finish() override;

 private:
  Signals Run(const std::vector<float> &mixture);

  WaveformGraph *graph_;
  Outlet outlet_;
  Level level_;
  size_t speakers_;
  size_t stride_;  // samples
  VoiceWindows windows_;
};

#endif  // ASCEND310_INFER_INC_VOICES_H_
