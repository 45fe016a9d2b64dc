// Raw samples from standard input, answered as they come: by libspeechzoo, with a graph of export.py --streaming.
#ifndef ASCEND310_INFER_INC_STREAM_H_
#define ASCEND310_INFER_INC_STREAM_H_

#include "options.h"

// Until the input ends or is interrupted. The exit code.
int RunStream(const Options &options);

#endif  // ASCEND310_INFER_INC_STREAM_H_
