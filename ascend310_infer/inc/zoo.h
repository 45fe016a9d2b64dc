// libspeechzoo as the program uses it.
#ifndef ASCEND310_INFER_INC_ZOO_H_
#define ASCEND310_INFER_INC_ZOO_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "options.h"
#include "output.h"
#include "speechzoo.h"

// A handle of the library, whose errors are exceptions: UserError for mistakes, std::runtime_error for defects.
class Zoo {
 public:
  // `partial`: text comes as it is so far, too.
  explicit Zoo(const Options &options, bool partial = false);

  void Start(int64_t rate, int64_t length) { Check(speechzoo_start(handle_.get(), rate, length)); }

  // Runs the samples, and gives `output` what comes out.
  void Push(const std::vector<float> &samples, Output *output);
  void Finish(Output *output);

 private:
  void Check(int code) const;
  void Give(Output *output);

  struct Free {
    void operator()(speechzoo *zoo) const { speechzoo_free(zoo); }
  };
  std::unique_ptr<speechzoo, Free> handle_;
  size_t voices_ = 0;
};

#endif  // ASCEND310_INFER_INC_ZOO_H_
