// What becomes of the results of libspeechzoo: lines on standard output, and files. One class for each kind of answer.
#ifndef ASCEND310_INFER_INC_OUTPUT_H_
#define ASCEND310_INFER_INC_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "options.h"

constexpr char kSeparated[] = "separated";  // folder of speakers where none is named

// A recording that is being run.
struct Source {
  std::string path;  // empty: standard input
  int64_t rate = 0;  // Hz
  double gain = 1;   // that its samples were multiplied by
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

// Of the kind that speechzoo_describe() says in `graph`. UserError for flags that do not fit it.
std::unique_ptr<Output> MakeOutput(const Options &options, const nlohmann::json &graph);
std::unique_ptr<Output> MakeTextOutput(const Options &options, const nlohmann::json &graph);
std::unique_ptr<Output> MakeVoicesOutput(const Options &options, const nlohmann::json &graph);
std::unique_ptr<Output> MakeLiveVoicesOutput(const Options &options, const nlohmann::json &graph);
std::unique_ptr<Output> MakeEmbeddingOutput(const Options &options, const nlohmann::json &graph);

// Prints a line on standard output; bytes that are no UTF-8 are replaced.
void PrintJson(const nlohmann::json &json);

// OutputError where standard output could not be written.
void FlushOutput();

#endif  // ASCEND310_INFER_INC_OUTPUT_H_
