// What becomes of the results of libspeechzoo: lines on standard output, and files. One class for each kind of answer.
#ifndef ASCEND310_INFER_INC_OUTPUT_H_
#define ASCEND310_INFER_INC_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "options.h"

// A recording that is being run.
struct Source {
  std::string path;     // or a name for standard input
  int64_t rate = 0;     // Hz
  int64_t samples = 0;  // of a channel; 0: not known
  double gain = 1;      // that its samples were multiplied by
};

class Output {
 public:
  virtual ~Output() = default;

  // A recording begins. UserError where there is no place for its results.
  virtual void Begin(const Source &source) = 0;

  // A result, as speechzoo.h describes it.
  virtual void Add(const nlohmann::json &result) = 0;

  // The next samples of every speaker.
  virtual void AddVoices(const std::vector<std::vector<float>> &) {}

  // The recording is complete.
  virtual void End() = 0;

  // All recordings are; `failed` could not be used.
  virtual void Close(size_t /*failed*/) {}
};

// `graph`: what speechzoo_describe() says. UserError for flags that do not fit the kind of its answer.
std::unique_ptr<Output> MakeTextOutput(const Options &options, const nlohmann::json &graph);
std::unique_ptr<Output> MakeVoicesOutput(const Options &options, const nlohmann::json &graph);
std::unique_ptr<Output> MakeEmbeddingOutput(const Options &options, const nlohmann::json &graph);

#endif  // ASCEND310_INFER_INC_OUTPUT_H_
