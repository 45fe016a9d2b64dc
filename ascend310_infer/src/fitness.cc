#include "fitness.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>

#include "error.h"

namespace {
// The constants of utils/audio/fitness.py
constexpr double kSilence = 1e-5;   // half a step of 16-bit PCM is 1.5e-5
constexpr double kFaint = 1e-4;     // what varies by no more to either side holds no sound
constexpr double kLoudest = 8;      // more is not in [-1, 1] by far: whole numbers as floats
constexpr double kQuiet = 0.03;     // a peak below it is raised to
constexpr double kLevel = 0.3;      // this one
constexpr double kCancelled = 0.1;  // of the power that channels without relation have in their mean
constexpr double kAsLoud = 0.99;    // of the power of the loudest channel

std::string ToText(double value, int digits = 6) {
  std::ostringstream text;
  text << std::setprecision(digits) << value;
  return text.str();
}

std::string Decibels(double ratio) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 20 * std::log10(ratio) << " dB";
  return text.str();
}
}  // namespace

void Meter::Level::Add(double value) {
  low = std::min(low, value);
  high = std::max(high, value);
  sum += value;
  squares += value * value;
}

double Meter::Level::Power(int64_t count) const {
  const double mean = sum / static_cast<double>(count);
  return std::max(0.0, squares / static_cast<double>(count) - mean * mean);  // of a constant, rounding leaves less
}

double Meter::Level::Largest() const { return std::max(std::abs(low), std::abs(high)); }

void Meter::Add(const std::vector<float> &samples) {
  for (size_t start = 0; start < samples.size(); start += channels()) {
    double sum = 0;
    for (size_t channel = 0; channel < channels(); ++channel) {
      const float value = samples[start + channel];
      finite_ = finite_ && std::isfinite(value);
      levels_[channel].Add(value);
      sum += value;
    }
    levels_.back().Add(sum / static_cast<double>(channels()));
    ++count_;
  }
}

const Meter::Level &Meter::Used() const { return levels_[Channel().value_or(channels())]; }

void Meter::Check() const {
  if (!finite_) {
    throw UserError("samples that are NaN or infinite, expected numbers in [-1, 1]; decode it again");
  }
  double largest = 0;
  for (const Level &level : levels_) {
    largest = std::max(largest, level.Largest());
  }
  if (largest > kLoudest) {
    throw UserError("samples up to " + ToText(largest) +
                    ", expected numbers in [-1, 1]; divide 16-bit numbers by 32768");
  }
  const Level &used = Used();
  if ((used.high - used.low) / 2 > kFaint) {
    return;
  }
  const double least = used.Largest() <= kSilence ? kSilence : kFaint;
  throw UserError((used.Largest() <= least
                       ? "silent, no sample above " + ToText(least)
                       : "no sound, all samples are about " + ToText((used.low + used.high) / 2, 3)) +
                  "; leave the file out");
}

std::optional<size_t> Meter::Channel() const {
  const auto number = static_cast<double>(channels());
  double sum = 0;
  double most = 0;
  for (size_t channel = 0; channel < channels(); ++channel) {
    sum += levels_[channel].Power(count_);
    most = std::max(most, levels_[channel].Power(count_));
  }
  if (channels() == 1 || levels_.back().Power(count_) >= kCancelled * sum / (number * number)) {
    return std::nullopt;
  }
  return std::find_if(levels_.begin(), levels_.end(),
                      [&](const Level &level) { return level.Power(count_) >= kAsLoud * most; }) -
         levels_.begin();
}

double Meter::Gain() const { return Used().Largest() < kQuiet ? kLevel / Used().Largest() : 1; }

std::vector<std::string> Meter::Notes(bool raise_quiet) const {
  std::vector<std::string> notes;
  if (channels() > 1) {
    const std::optional<size_t> channel = Channel();
    notes.push_back(std::to_string(channels()) + " channels" +
                    (channel ? " that cancel each other, only channel " + std::to_string(*channel + 1) + " is used"
                             : ", their mean is used"));
  }
  if (Gain() != 1) {
    notes.push_back("quiet, its loudest sample is at " + Decibels(Used().Largest()) + " of full scale; " +
                    (raise_quiet ? "raised by " + Decibels(Gain()) : "record it louder"));
  }
  return notes;
}
