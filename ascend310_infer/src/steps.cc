#include "steps.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "error.h"

namespace {
constexpr int64_t kManyRows = std::numeric_limits<int64_t>::max() / 2;  // of a recording that goes on
}  // namespace

Steps::Steps(const Interface &interface, Predict predict, Take take)
    : streaming_(interface.streaming), answer_(interface.answer), predict_(std::move(predict)), take_(std::move(take)) {
  for (const Port &port : interface.inputs) {
    size_t bytes = sizeof(float);
    for (const int64_t size : port.shape) {
      bytes *= static_cast<size_t>(size);
    }
    inputs_.push_back({port.shape, std::string(bytes, '\0')});  // all states are zeros before a recording
  }
}

void Steps::Push(const std::vector<float> &samples) {
  held_.insert(held_.end(), samples.begin(), samples.end());
  received_ += static_cast<int64_t>(samples.size());
  while (Start() + streaming_.window <= received_) {
    Advance(received_, kManyRows);
  }
}

void Steps::Finish() {
  if (received_ == 0) {
    return;
  }
  const int64_t rows = (received_ + streaming_.add) / streaming_.step;
  const int64_t total = std::max(received_, streaming_.shortest);
  held_.resize(held_.size() + static_cast<size_t>(total - received_));
  while (done_ * streaming_.rows - streaming_.delay < rows) {
    Advance(total, rows);
  }
}

// One step over a recording of which `total` samples are known, and which has so many rows.
void Steps::Advance(int64_t total, int64_t rows) {
  const std::vector<float> window = Window(Start(), total);
  const auto count = static_cast<int32_t>(std::clamp<int64_t>(total - Start(), 0, streaming_.window));
  std::memcpy(inputs_[0].bytes.data(), window.data(), inputs_[0].bytes.size());
  std::memcpy(inputs_[1].bytes.data(), &count, sizeof(count));
  std::vector<std::string> outputs = predict_(inputs_);
  std::vector<float> values(outputs.empty() ? 0 : outputs[0].size() / sizeof(float));
  bool fits = !values.empty() && values.size() % static_cast<size_t>(streaming_.rows) == 0;
  for (size_t i = 0; fits && i < streaming_.states.size(); ++i) {
    const size_t output = streaming_.states[i];
    fits = output < outputs.size() && outputs[output].size() == inputs_[i + 2].bytes.size();
    if (fits) {
      inputs_[i + 2].bytes = std::move(outputs[output]);
    }
  }
  if (!fits) {
    throw UserError("the graph gives other outputs than the inputs.json beside it says; export it again");
  }
  std::memcpy(values.data(), outputs[0].data(), outputs[0].size());
  const int64_t first = done_ * streaming_.rows - streaming_.delay;
  ++done_;
  // as far back as the mirror image of the end
  const int64_t keep = std::max<int64_t>(0, std::min(Start(), total) - streaming_.mirrored - 1);
  if (keep > first_) {
    held_.erase(held_.begin(), held_.begin() + (keep - first_));
    first_ = keep;
  }
  const int64_t begin = std::max<int64_t>(0, -first);
  const int64_t end = std::min(streaming_.rows, rows - first);
  if (begin < end) {
    RequireNumbers(values, answer_);
    take_(values, begin, end);
  }
}

// The samples from `start` on, with what is beyond the ends.
std::vector<float> Steps::Window(int64_t start, int64_t total) const {
  std::vector<float> window(static_cast<size_t>(streaming_.window));
  const int64_t period = 2 * (total - 1);
  for (int64_t i = 0; i < streaming_.window; ++i) {
    int64_t place = start + i;
    if (place < -streaming_.mirrored || place >= total + streaming_.mirrored) {
      continue;
    }
    if (place < 0 || place >= total) {  // back and forth, where a recording is very short
      place = period > 0 ? std::abs(place) % period : 0;
      place = std::min(place, period - place);
    }
    window[static_cast<size_t>(i)] = held_.at(static_cast<size_t>(place - first_));
  }
  return window;
}
