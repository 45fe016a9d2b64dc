// The answer to one recording: samples go in block by block, results come out piece by piece.
#ifndef ASCEND310_INFER_INC_ANSWER_H_
#define ASCEND310_INFER_INC_ANSWER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "decoder.h"
#include "graph.h"
#include "interface.h"
#include "session.h"

// What inputs.json says of a graph that has answers: to waveforms, or a streaming one. UserError where it has none.
Interface ReadAnswering(const std::filesystem::path &mindir_path);

// What a user of the library knows of it: see speechzoo_describe().
nlohmann::json Describe(const Interface &interface);

struct AnswerSettings {
  DeviceOptions device;
  TextDecoder decode;       // of text
  bool timestamps = false;  // with the times of words
  bool partial = false;     // of a streaming graph, with the text so far
};

// Where the results of an answer go.
struct Outlet {
  // text:      {"start", "end", "text", "words": [{"start", "end", "text"}]} of each segment; times in seconds
  // voices:    {"gains": [one per speaker], "decibels": [...]} at the end: what the samples are to be multiplied
  //            by, and how loud each then is against the mixture
  // embedding: {"embedding": [...], "seconds": s} at the end
  std::function<void(const nlohmann::json &)> result;

  // The next samples of every speaker, at the graph's rate; as many for each.
  std::function<void(const std::vector<std::vector<float>> &)> voices;
};

class Answer {
 public:
  virtual ~Answer() = default;

  // The next samples, one channel in [-1, 1] at the graph's rate, any number.
  virtual void Push(const std::vector<float> &samples) = 0;

  // The end of the recording; nothing follows.
  virtual void Finish() = 0;
};

// The answer to a recording of about `length` samples at the graph's rate; 0: not known yet. What it refers to must
// outlive it. UserError where the graph has no answer of a kind.
std::unique_ptr<Answer> MakeAnswer(const Interface &interface, WaveformGraph *graph, const AnswerSettings &settings,
                                   int64_t length, Outlet outlet);

#endif  // ASCEND310_INFER_INC_ANSWER_H_
