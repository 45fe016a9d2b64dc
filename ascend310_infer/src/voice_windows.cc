#include "voice_windows.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "error.h"

namespace {
// For each row of `gains` the column it is given, each once, so that the sum is the largest: the Hungarian method of
// Kuhn and Munkres with potentials, O(n^3). The first of equals wins, so speakers that are silent keep their order.
std::vector<size_t> Assign(const std::vector<std::vector<double>> &gains) {
  const size_t size = gains.size();
  const double infinite = std::numeric_limits<double>::infinity();
  // rows and columns count from 1: column 0 is where the search for each row begins
  std::vector<double> of_row(size + 1);
  std::vector<double> of_column(size + 1);
  std::vector<size_t> row_of(size + 1);
  for (size_t row = 1; row <= size; ++row) {
    std::vector<double> least(size + 1, infinite);
    std::vector<size_t> before(size + 1);
    std::vector<bool> done(size + 1);
    size_t column = 0;
    row_of[0] = row;
    while (row_of[column] != 0) {
      done[column] = true;
      const size_t here = row_of[column];
      double step = infinite;
      size_t next = 0;
      for (size_t j = 1; j <= size; ++j) {
        if (done[j]) {
          continue;
        }
        const double cost = -gains[here - 1][j - 1] - of_row[here] - of_column[j];
        if (cost < least[j]) {
          least[j] = cost;
          before[j] = column;
        }
        if (least[j] < step) {
          step = least[j];
          next = j;
        }
      }
      for (size_t j = 0; j <= size; ++j) {
        if (done[j]) {
          of_row[row_of[j]] += step;
          of_column[j] -= step;
        } else {
          least[j] -= step;
        }
      }
      column = next;
    }
    for (; column != 0; column = before[column]) {
      row_of[column] = row_of[before[column]];
    }
  }
  std::vector<size_t> columns(size);
  for (size_t column = 1; column <= size; ++column) {
    columns[row_of[column] - 1] = column - 1;
  }
  return columns;
}

std::vector<float> Part(const std::vector<float> &samples, int64_t first, int64_t stop) {
  return {samples.begin() + first, samples.begin() + stop};
}

Signals Part(const Signals &speakers, int64_t first, int64_t stop) {
  Signals parts;
  for (const std::vector<float> &speaker : speakers) {
    parts.push_back(Part(speaker, first, stop));
  }
  return parts;
}
}  // namespace

VoiceWindows::VoiceWindows(Separate separate, int64_t size, int64_t overlap, int64_t stride, Take take)
    : separate_(std::move(separate)),
      size_(size),
      overlap_(overlap),
      stride_(stride),
      take_(std::move(take)),
      fade_(static_cast<size_t>(overlap), 1.0F) {
  const int64_t fade = overlap / 4;
  const int64_t before = (overlap - fade) / 2;
  std::fill_n(fade_.begin(), before, 0.0F);
  for (int64_t i = 0; i < fade; ++i) {
    fade_[before + i] = static_cast<float>((static_cast<double>(i) + 0.5) / static_cast<double>(fade));
  }
}

void VoiceWindows::Push(const std::vector<float> &samples) {
  waiting_.insert(waiting_.end(), samples.begin(), samples.end());
  while (start_ + static_cast<int64_t>(waiting_.size()) > following_ + size_) {
    if (overlap_ == 0) {
      throw UserError("longer than the " + std::to_string(size_) +
                      " samples that the graph takes, which are too few for windows; export it with --length 0");
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + (following_ - start_));
    start_ = following_;
    following_ = start_ + size_ - overlap_;
    Run(start_, Part(waiting_, 0, size_), false);
  }
}

void VoiceWindows::Finish() {
  // The last window ends with the recording, and has the full size too where there is more than one.
  const int64_t surplus = std::max<int64_t>(0, static_cast<int64_t>(waiting_.size()) - size_);
  const int64_t skipped = (surplus + stride_ - 1) / stride_ * stride_;
  Run(start_ + skipped, Part(waiting_, skipped, static_cast<int64_t>(waiting_.size())), true);
  waiting_.clear();
}

void VoiceWindows::Run(int64_t start, std::vector<float> mixture, bool is_last) {
  Signals speakers = separate_(mixture);
  speakers = Levelled(mixture, std::move(speakers));
  const int64_t first = position_ - start;
  if (!held_.empty()) {
    Join(&speakers, first);
  }
  const auto length = static_cast<int64_t>(mixture.size());
  const int64_t stop = is_last ? length : length - overlap_;
  take_(Part(mixture, first, stop), Part(speakers, first, stop));
  held_ = Part(speakers, stop, length);
  position_ = start + stop;
}

void VoiceWindows::Join(Signals *speakers, int64_t first) const {
  std::vector<std::vector<double>> products;
  for (const std::vector<float> &before : held_) {
    std::vector<double> row;
    for (const std::vector<float> &speaker : *speakers) {
      row.push_back(std::inner_product(before.begin(), before.end(), speaker.begin() + first, 0.0, std::plus<>(),
                                       [](float a, float b) { return static_cast<double>(a) * b; }));
    }
    products.push_back(std::move(row));
  }
  const std::vector<size_t> order = Assign(products);
  Signals joined;
  for (size_t i = 0; i < held_.size(); ++i) {
    std::vector<float> &speaker = joined.emplace_back(std::move((*speakers)[order[i]]));
    for (size_t place = 0; place < fade_.size(); ++place) {
      float &sample = speaker[first + static_cast<int64_t>(place)];
      sample = (1 - fade_[place]) * held_[i][place] + fade_[place] * sample;
    }
  }
  *speakers = std::move(joined);
}
