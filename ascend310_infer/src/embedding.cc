#include "embedding.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "enrolment.h"
#include "error.h"

namespace {
constexpr int64_t kSlack = 64;  // samples that a recording may be longer or shorter than was expected: by resampling
}  // namespace

EmbeddingAnswer::EmbeddingAnswer(const Interface &interface, WaveformGraph *graph, int64_t length, Outlet outlet)
    : graph_(graph),
      outlet_(std::move(outlet)),
      size_(static_cast<size_t>(interface.outputs[0].shape[1])),
      longest_(interface.answer.window),
      rate_(static_cast<double>(interface.sample_rate)),
      length_(length) {
  if (graph->Longest() > 0) {  // the last part may be longer than expected
    longest_ =
        graph->TakesFewer() ? std::min(longest_, std::max<int64_t>(1, graph->Longest() - kSlack)) : graph->Longest();
  }
}

int64_t EmbeddingAnswer::Begin(int64_t part) const {
  if (graph_->TakesFewer()) {  // as numpy.array_split
    return part * (length_ / Parts()) + std::min(part, length_ % Parts());
  }
  return part == 0 ? 0 : part * (length_ - longest_) / (Parts() - 1);
}

int64_t EmbeddingAnswer::End(int64_t part) const {
  return graph_->TakesFewer() ? Begin(part + 1) : Begin(part) + longest_;
}

void EmbeddingAnswer::Push(const std::vector<float> &samples) {
  waiting_.insert(waiting_.end(), samples.begin(), samples.end());
  while (done_ + 1 < Parts() && Received() >= End(done_)) {
    Add(Begin(done_), End(done_));
    ++done_;
    const int64_t surplus = std::max<int64_t>(0, Begin(done_) - kSlack - dropped_);
    waiting_.erase(waiting_.begin(), waiting_.begin() + surplus);
    dropped_ += surplus;
  }
}

void EmbeddingAnswer::Finish() {
  const int64_t received = Received();
  if (done_ > 0 && std::abs(received - length_) > kSlack) {
    throw UserError(std::to_string(received) + " samples came, but " + std::to_string(length_) +
                    " were announced; announce 0 where the length is not known");
  }
  if (done_ == 0) {
    length_ = received;
  }
  for (; done_ < Parts(); ++done_) {
    const bool last = done_ + 1 == Parts();
    const int64_t begin = last && !graph_->TakesFewer() ? std::max<int64_t>(0, received - longest_) : Begin(done_);
    Add(begin, last ? received : End(done_));
  }
  MakeUnit(&sum_);
  outlet_.result({{"embedding", sum_}, {"seconds", static_cast<double>(received) / rate_}});
}

void EmbeddingAnswer::Add(int64_t begin, int64_t end) {
  std::vector<float> part(waiting_.begin() + (begin - dropped_), waiting_.begin() + (end - dropped_));
  const size_t given = part.size();
  while (!graph_->TakesFewer() && !part.empty() && static_cast<int64_t>(part.size()) < longest_) {
    part.push_back(part[part.size() - given]);
  }
  std::vector<float> embedding = graph_->Run(part)[0];
  RequireSize(embedding.size(), 1, size_);
  MakeUnit(&embedding);
  sum_.resize(embedding.size());
  for (size_t i = 0; i < embedding.size(); ++i) {
    sum_[i] += embedding[i];
  }
}
