#include "transcript.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "error.h"

namespace {
// The first of the places from `first` to before `last` where `value` is greatest.
template <class Function>
size_t ArgMax(size_t first, size_t last, const Function &value) {
  size_t best = first;
  for (size_t i = first + 1; i < last; ++i) {
    if (value(i) > value(best)) {
      best = i;
    }
  }
  return best;
}

// A time to two places, as it is shown: frames are of 20 ms.
double Rounded(double seconds) { return std::round(seconds * 100) / 100; }
}  // namespace

Windows::Windows(const AnswerKind &answer, GraphLength length, TextNetwork network, Take take)
    : labels_(answer.labels.size()),
      blank_(static_cast<size_t>(answer.blank)),
      frame_(answer.frame_samples),
      size_(answer.window),
      is_fixed_(length.is_fixed),
      network_(std::move(network)),
      take_(std::move(take)),
      held_(labels_) {
  if (is_fixed_) {
    size_ = length.longest;
  } else if (length.longest > 0) {
    size_ = std::min(size_, length.longest / frame_ * frame_);
  }
  if (size_ / frame_ < 2) {
    throw UserError("the graph takes " + std::to_string(length.longest) + " samples, expected at least " +
                    std::to_string(2 * frame_) + "; export it for a longer recording");
  }
  overlap_ = std::min(answer.overlap / frame_, size_ / frame_ / 2);
}

void Windows::Push(const std::vector<float> &samples) {
  waiting_.insert(waiting_.end(), samples.begin(), samples.end());
  while (Waiting() - next_ > size_) {
    Run(next_, next_ + size_, false);
    waiting_.erase(waiting_.begin(), waiting_.begin() + next_);
    next_ = (size_ / frame_ - overlap_) * frame_;
  }
}

void Windows::Finish() {
  if (waiting_.empty()) {
    return;
  }
  const int64_t missing = Waiting() - size_;
  const bool ends_with_recording = is_fixed_ && missing > 0;
  Run(ends_with_recording ? (missing + frame_ - 1) / frame_ * frame_ : is_fixed_ ? 0 : next_, Waiting(), true);
}

void Windows::Run(int64_t start, int64_t stop, bool is_last) {
  LogProbs here(labels_, network_({waiting_.begin() + start, waiting_.begin() + stop}));
  const int64_t frames = (stop - start) / frame_ + 1;
  if (static_cast<int64_t>(here.Size()) != frames * static_cast<int64_t>(labels_)) {
    throw UserError("the graph gives " + std::to_string(here.Size()) + " log probabilities for " +
                    std::to_string(stop - start) + " samples, expected " + std::to_string(frames) + " x " +
                    std::to_string(labels_) + "; export the graph again");
  }
  here.DropFront(static_cast<size_t>((next_ - start) / frame_));  // frames that were given already
  size_t cut = 0;
  if (const size_t both = held_.Frames(); both > 0) {
    const size_t first = both / 4;
    cut =
        ArgMax(first, std::max(first + 1, 3 * both / 4), [&](size_t i) { return held_[i][blank_] + here[i][blank_]; });
    take_(held_.Slice(0, cut));
    here.DropFront(cut);
  }
  const size_t given = is_last ? here.Frames() : static_cast<size_t>(size_ / frame_ - overlap_) - cut;
  take_(here.Slice(0, given));
  held_ = here.Slice(given, is_last ? given : given + static_cast<size_t>(overlap_));
}

Stretches::Stretches(const AnswerKind &answer, Take take)
    : blank_(static_cast<size_t>(answer.blank)),
      pause_(static_cast<size_t>(answer.pause)),
      segment_(static_cast<size_t>(answer.segment)),
      longest_(static_cast<size_t>(answer.longest)),
      take_(std::move(take)),
      waiting_(answer.labels.size()) {}

void Stretches::Push(const LogProbs &piece) {
  waiting_.Append(piece);
  while (waiting_.Frames() >= segment_ + pause_) {
    const size_t cut = Cut();
    if (cut == 0) {
      break;
    }
    take_(first_, waiting_.Slice(0, cut));
    waiting_.DropFront(cut);
    first_ += static_cast<int64_t>(cut);
  }
}

void Stretches::Finish() {
  if (waiting_.Frames() > 0) {
    take_(first_, waiting_);
  }
}

size_t Stretches::Cut() const {
  const double half = std::log(0.5);
  size_t run = 0;
  for (size_t frame = segment_; frame < waiting_.Frames(); ++frame) {
    run = waiting_[frame][blank_] > half ? run + 1 : 0;
    if (run == pause_) {
      return frame - pause_ / 2;
    }
  }
  if (waiting_.Frames() < longest_) {
    return 0;
  }
  return ArgMax(segment_, waiting_.Frames(), [&](size_t frame) { return waiting_[frame][blank_]; });
}

Transcriber::Transcriber(const AnswerKind &answer, int64_t sample_rate, GraphLength length, TextNetwork network,
                         TextDecoder decode, bool timestamps, Take take)
    : alphabet_(answer.labels, answer.blank, answer.spaced),
      seconds_per_frame_(static_cast<double>(answer.frame_samples) / static_cast<double>(sample_rate)),
      decode_(std::move(decode)),
      timestamps_(timestamps),
      take_(std::move(take)),
      stretches_(answer, [this](int64_t first, const LogProbs &log_probs) { Decode(first, log_probs); }),
      windows_(answer, length, std::move(network), [this](const LogProbs &piece) { stretches_.Push(piece); }) {}

void Transcriber::Finish() {
  windows_.Finish();
  stretches_.Finish();
}

void Transcriber::Decode(int64_t first, const LogProbs &log_probs) {
  const double start = static_cast<double>(first) * seconds_per_frame_;
  const double end = (static_cast<double>(first) + static_cast<double>(log_probs.Frames())) * seconds_per_frame_;
  Segment segment{Rounded(start), Rounded(end), Join(Words(decode_(log_probs)), " "), {}};
  if (timestamps_) {
    segment.words = WordTimes(log_probs, segment.text, alphabet_, seconds_per_frame_);
    for (Word &word : segment.words) {
      word.start = Rounded(start + word.start);
      word.end = Rounded(start + word.end);
    }
  }
  take_(segment);
}
