// A graph with states over a recording that arrives, step by step, as utils/layers/steps.py does it.
#ifndef ASCEND310_INFER_INC_STEPS_H_
#define ASCEND310_INFER_INC_STEPS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "interface.h"
#include "items.h"

// The bytes of a graph's outputs for its inputs.
using Predict = std::function<std::vector<std::string>(const std::vector<HostTensor> &)>;

class Steps {
 public:
  // The first output of a step: the numbers of all its rows, of which those from `first` to before `last` belong to
  // the recording.
  using Take = std::function<void(const std::vector<float> &values, int64_t first, int64_t last)>;

  // `interface`, of a streaming graph, must outlive it. UserError, below, where the graph's outputs are no numbers or
  // of another size.
  Steps(const Interface &interface, Predict predict, Take take);

  // The next samples at the graph's rate; runs the steps that they complete.
  void Push(const std::vector<float> &samples);

  // The end of the recording: runs the steps that are left.
  void Finish();

 private:
  int64_t Start() const { return done_ * streaming_.samples - streaming_.before; }
  void Advance(int64_t total, int64_t rows);
  std::vector<float> Window(int64_t start, int64_t total) const;

  const Streaming &streaming_;
  const AnswerKind &answer_;
  Predict predict_;
  Take take_;
  std::vector<HostTensor> inputs_;
  std::vector<float> held_;  // the samples from `first_` on
  int64_t first_ = 0;
  int64_t received_ = 0;
  int64_t done_ = 0;  // steps
};

#endif  // ASCEND310_INFER_INC_STEPS_H_
