// A recording padded to the next of the lengths that a graph is compiled for, and its results cut to its own. Both
// leave what a graph without gears takes and gives as it is.
#ifndef ASCEND310_INFER_INC_GEARS_H_
#define ASCEND310_INFER_INC_GEARS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "interface.h"
#include "items.h"

// The inputs of the graph from those of a recording's files: the first with zeros up to the next gear, then the rest,
// then the length that the first had. UserError where it is longer than the last gear.
std::vector<HostTensor> PadToGear(std::vector<HostTensor> tensors, const Interface &interface);

// The outputs for a recording of `length` from those of the padded one. UserError where the graph gives others than
// it is said to.
std::vector<std::string> CutToLength(std::vector<std::string> outputs, int64_t length, const Interface &interface);

// An output for a recording of `length` from that of one padded to `padded`. UserError where the graph gives another
// than it is said to.
std::string CutOutput(const std::string &content, const Port &port, int64_t length, int64_t padded);

#endif  // ASCEND310_INFER_INC_GEARS_H_
