// The answers to recordings, by libspeechzoo: printed as the model's infer.py prints them, or as JSON lines.
#ifndef ASCEND310_INFER_INC_ANSWERS_H_
#define ASCEND310_INFER_INC_ANSWERS_H_

#include "options.h"

// The exit code. A recording that cannot be used is reported and skipped. UserError where none can be.
int RunAnswers(const Options &options);

#endif  // ASCEND310_INFER_INC_ANSWERS_H_
