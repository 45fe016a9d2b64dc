#include "live.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "decoder.h"
#include "level.h"
#include "text.h"
#include "text_answer.h"
#include "transcript.h"

namespace {
class LiveText : public Answer {
 public:
  LiveText(const Interface &interface, Predict predict, const AnswerSettings &settings, Outlet outlet)
      : kind_(interface.answer),
        rows_(interface.streaming.rows),
        alphabet_(kind_.labels, kind_.blank, kind_.spaced),
        partial_(settings.partial),
        seconds_(static_cast<double>(kind_.frame_samples) / static_cast<double>(interface.sample_rate)),
        outlet_(std::move(outlet)),
        unsaid_(kind_.labels.size()),
        transcriber_(
            kind_, interface.sample_rate, {}, [](const std::vector<float> &) { return std::vector<float>(); },
            settings.decode, settings.timestamps, [this](const Segment &segment) { Give(segment); }),
        steps_(interface, std::move(predict),
               [this](const std::vector<float> &values, int64_t first, int64_t last) { Add(values, first, last); }) {}

  void Push(const std::vector<float> &samples) override { steps_.Push(samples); }

  void Finish() override {
    steps_.Finish();
    transcriber_.Finish();
  }

 private:
  void Add(const std::vector<float> &values, int64_t first, int64_t last) {
    RequireSize(values.size(), static_cast<size_t>(rows_), kind_.labels.size());
    const LogProbs piece =
        LogProbs(kind_.labels.size(), values).Slice(static_cast<size_t>(first), static_cast<size_t>(last));
    unsaid_.Append(piece);
    transcriber_.Push(piece);
    if (partial_ && unsaid_.Frames() > 0) {
      outlet_.result({{"start", seconds_ * static_cast<double>(given_)},
                      {"end", seconds_ * static_cast<double>(given_ + unsaid_.Frames())},
                      {"partial", Join(Words(alphabet_.Decode(Greedy(unsaid_, alphabet_.blank()))), " ")}});
    }
  }

  void Give(const Segment &segment) {
    outlet_.result(ToJson(segment));
    const auto end = static_cast<size_t>(segment.end / seconds_ + 0.5);
    unsaid_.DropFront(end - given_);
    given_ = end;
  }

  const AnswerKind &kind_;
  int64_t rows_;  // of a step
  Alphabet alphabet_;
  bool partial_;
  double seconds_;  // of a frame
  Outlet outlet_;
  LogProbs unsaid_;   // of the segment that is being spoken
  size_t given_ = 0;  // frames before it
  Transcriber transcriber_;
  Steps steps_;
};

class LiveVoices : public Answer {
 public:
  LiveVoices(const Interface &interface, Predict predict, Outlet outlet)
      : level_(static_cast<size_t>(interface.outputs[0].shape[1])),
        speakers_(static_cast<size_t>(interface.outputs[0].shape[1])),
        rows_(interface.streaming.rows),
        outlet_(std::move(outlet)),
        steps_(interface, std::move(predict),
               [this](const std::vector<float> &values, int64_t first, int64_t last) { Add(values, first, last); }) {}

  void Push(const std::vector<float> &samples) override {
    mixture_.insert(mixture_.end(), samples.begin(), samples.end());
    steps_.Push(samples);
  }

  void Finish() override {
    steps_.Finish();
    outlet_.result(
        {{"gains", std::vector<double>(speakers_, 1.0)}, {"decibels", level_.Decibels()}});  // they have their level
  }

 private:
  void Add(const std::vector<float> &values, int64_t first, int64_t last) {
    RequireSize(values.size(), static_cast<size_t>(rows_), speakers_);
    std::vector<std::vector<float>> voices;
    for (size_t i = 0; i < speakers_; ++i) {
      const auto start = values.begin() + static_cast<std::ptrdiff_t>(i) * rows_;
      voices.emplace_back(start + first, start + last);
    }
    const auto count =
        std::min(static_cast<std::ptrdiff_t>(last - first), static_cast<std::ptrdiff_t>(mixture_.size()));
    level_.Add({mixture_.begin(), mixture_.begin() + count}, voices);
    mixture_.erase(mixture_.begin(), mixture_.begin() + count);
    const std::vector<double> gains = level_.Gains();
    for (size_t i = 0; i < speakers_; ++i) {
      for (float &sample : voices[i]) {
        sample = static_cast<float>(gains[i] * sample);
      }
    }
    outlet_.voices(voices);
  }

  Level level_;
  size_t speakers_;
  int64_t rows_;  // samples of each in a step
  Outlet outlet_;
  std::vector<float> mixture_;  // what has come of it, and not of the speakers
  Steps steps_;
};
}  // namespace

std::unique_ptr<Answer> MakeLiveAnswer(const Interface &interface, Predict predict, const AnswerSettings &settings,
                                       Outlet outlet) {
  if (interface.answer.kind == AnswerKind::Kind::kText) {
    return std::make_unique<LiveText>(interface, std::move(predict), settings, std::move(outlet));
  }
  return std::make_unique<LiveVoices>(interface, std::move(predict), std::move(outlet));
}
