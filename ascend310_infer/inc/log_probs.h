// What a network of text computes: the log probabilities of its labels, frame by frame.
#ifndef ASCEND310_INFER_INC_LOG_PROBS_H_
#define ASCEND310_INFER_INC_LOG_PROBS_H_

#include <cstddef>
#include <utility>
#include <vector>

class LogProbs {
 public:
  explicit LogProbs(size_t labels, std::vector<float> values = {}) : labels_(labels), values_(std::move(values)) {}

  size_t labels() const { return labels_; }
  size_t Size() const { return values_.size(); }
  size_t Frames() const { return values_.size() / labels_; }
  const float *operator[](size_t frame) const { return values_.data() + frame * labels_; }

  // The frames from `first` to before `last`.
  LogProbs Slice(size_t first, size_t last) const {
    return LogProbs(labels_, {values_.begin() + static_cast<std::ptrdiff_t>(first * labels_),
                              values_.begin() + static_cast<std::ptrdiff_t>(last * labels_)});
  }

  void Append(const LogProbs &more) { values_.insert(values_.end(), more.values_.begin(), more.values_.end()); }

  void DropFront(size_t frames) {
    values_.erase(values_.begin(), values_.begin() + static_cast<std::ptrdiff_t>(frames * labels_));
  }

 private:
  size_t labels_;
  std::vector<float> values_;
};

#endif  // ASCEND310_INFER_INC_LOG_PROBS_H_
