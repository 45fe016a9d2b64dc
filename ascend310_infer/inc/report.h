// How long the runs took.
#ifndef ASCEND310_INFER_INC_REPORT_H_
#define ASCEND310_INFER_INC_REPORT_H_

#include <string>
#include <vector>

struct Report {
  double build_ms = 0;             // loading and compiling the graph
  std::vector<double> predict_ms;  // of each item, copying and resizing included
  double audio_seconds = 0;        // of all items

  // One `name value` a line.
  std::string ToText() const;
};

#endif  // ASCEND310_INFER_INC_REPORT_H_
