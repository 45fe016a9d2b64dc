// What is said in a recording, as an answer.
#ifndef ASCEND310_INFER_INC_TEXT_ANSWER_H_
#define ASCEND310_INFER_INC_TEXT_ANSWER_H_

#include <vector>

#include "answer.h"
#include "transcript.h"

class TextAnswer : public Answer {
 public:
  TextAnswer(const Interface &interface, WaveformGraph *graph, const AnswerSettings &settings, Outlet outlet);

  void Push(const std::vector<float> &samples) override { transcriber_.Push(samples); }
  void Finish() override { transcriber_.Finish(); }

 private:
  Transcriber transcriber_;
};

// A segment as a result: {"start", "end", "text", "words": [{"start", "end", "text"}]}, times in seconds.
nlohmann::json ToJson(const Segment &segment);

#endif  // ASCEND310_INFER_INC_TEXT_ANSWER_H_
