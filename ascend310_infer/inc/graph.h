// A graph that takes a waveform, as a function of samples.
#ifndef ASCEND310_INFER_INC_GRAPH_H_
#define ASCEND310_INFER_INC_GRAPH_H_

#include <cstdint>
#include <vector>

#include "interface.h"
#include "session.h"

class WaveformGraph {
 public:
  // Both must outlive it. The graph takes a waveform.
  WaveformGraph(Session *session, const Interface &interface);

  // The most samples of a run; 0: any number.
  int64_t Longest() const;

  // Whether a run of fewer samples gives what they give alone; else only one of Longest() does.
  bool TakesFewer() const;

  // The outputs for samples of one channel in [-1, 1] at the graph's rate, cut to what belongs to the samples; whole
  // numbers as floats. The graph's gear or length is filled with zeros. UserError for too few or too many samples, and
  // for outputs that are no numbers.
  std::vector<std::vector<float>> Run(const std::vector<float> &samples);

 private:
  Session *session_;
  const Interface &interface_;
};

#endif  // ASCEND310_INFER_INC_GRAPH_H_
