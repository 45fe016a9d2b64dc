// A graph over a folder of files: <name>_<output>.bin for every item, and time_report.txt.
#ifndef ASCEND310_INFER_INC_BATCH_H_
#define ASCEND310_INFER_INC_BATCH_H_

#include "options.h"

// The exit code. A file that cannot be run is reported and skipped. UserError where none can be run.
int RunBatch(const Options &options);

#endif  // ASCEND310_INFER_INC_BATCH_H_
