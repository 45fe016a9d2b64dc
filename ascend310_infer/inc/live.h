// Answers of a graph with states, while a recording arrives.
#ifndef ASCEND310_INFER_INC_LIVE_H_
#define ASCEND310_INFER_INC_LIVE_H_

#include <memory>

#include "answer.h"
#include "steps.h"

// Text: beside the segments, where the settings ask for it, {"partial": text so far of the segment that is being
// spoken, "start", "end"} after each step: the most probable label of every frame, whatever decodes the segment.
// Voices: samples at the level that fits the mixture so far, so their gains are 1. What it refers to must outlive it.
std::unique_ptr<Answer> MakeLiveAnswer(const Interface &interface, Predict predict, const AnswerSettings &settings,
                                       Outlet outlet);

#endif  // ASCEND310_INFER_INC_LIVE_H_
