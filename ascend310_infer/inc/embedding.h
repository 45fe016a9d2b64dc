// The embedding of a recording, as ecapatdnn/src/inference.py.
#ifndef ASCEND310_INFER_INC_EMBEDDING_H_
#define ASCEND310_INFER_INC_EMBEDDING_H_

#include <cstdint>
#include <vector>

#include "answer.h"

// The mean of the embeddings of the parts of a recording, each of length 1, at length 1. Parts are equal, and as few as
// fit. A graph of one length takes parts of that length whose beginnings are evenly spread, and a shorter recording
// over and over. Where the length of a recording is not known, it is held in memory until its end.
class EmbeddingAnswer : public Answer {
 public:
  EmbeddingAnswer(const Interface &interface, WaveformGraph *graph, int64_t length, Outlet outlet);
  void Push(const std::vector<float> &samples) override;
  void Finish() override;

 private:
  int64_t Parts() const { return (length_ + longest_ - 1) / longest_; }
  int64_t Begin(int64_t part) const;
  int64_t End(int64_t part) const;
  int64_t Received() const { return dropped_ + static_cast<int64_t>(waiting_.size()); }

  // Adds the embedding of the samples from `begin` to `end` of the recording.
  void Add(int64_t begin, int64_t end);

  WaveformGraph *graph_;
  Outlet outlet_;
  size_t size_;                 // numbers of an embedding
  int64_t longest_;             // samples of a part
  double rate_;                 // Hz, of the graph
  int64_t length_;              // of the recording, 0: not known
  int64_t done_ = 0;            // parts
  std::vector<float> waiting_;  // samples
  int64_t dropped_ = 0;         // samples before those
  std::vector<float> sum_;      // of embeddings
};

#endif  // ASCEND310_INFER_INC_EMBEDDING_H_
