// Answers of a graph with states, while a recording arrives.
#ifndef ASCEND310_INFER_INC_LIVE_H_
#define ASCEND310_INFER_INC_LIVE_H_

#include <memory>

#include "answer.h"
#include "steps.h"

// Of text, beside the segments {"partial": text so far of the segment that is being spoken, "start", "end"} after each
// step where `partial`: the most probable label of every frame, whatever decodes the segment. Of voices, samples at the
// level that fits the mixture so far. What it refers to must outlive it.
std::unique_ptr<Answer> MakeLiveAnswer(const Interface &interface, Predict predict, const AnswerSettings &settings,
                                       bool partial, Outlet outlet);

// Raw samples from standard input, answered as they come. The exit code.
struct Options;
int RunStream(const Options &options);

#endif  // ASCEND310_INFER_INC_LIVE_H_
