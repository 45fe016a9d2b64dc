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

// Of one signal, sample by sample.
struct Meter {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  double sum = 0;
  double squares = 0;

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
    sum += value;
    squares += value * value;
  }

  // Without its mean, of `count` samples.
  double Power(size_t count) const {
    const double mean = sum / static_cast<double>(count);
    return squares / static_cast<double>(count) - mean * mean;
  }

  double Largest() const { return std::max(std::abs(low), std::abs(high)); }
};

std::string ToText(double value, int digits = 6) {
  std::ostringstream text;
  text << std::setprecision(digits) << value;
  return text.str();
}

void CheckRange(const Wav &wav) {
  double largest = 0;
  for (size_t i = 0; i < wav.Count(); ++i) {
    for (size_t channel = 0; channel < wav.channels; ++channel) {
      const double sample = wav.At(i, channel);
      if (!std::isfinite(static_cast<float>(sample))) {
        throw UserError("samples that are NaN or infinite, expected numbers in [-1, 1]; decode it again");
      }
      largest = std::max(largest, std::abs(sample));
    }
  }
  if (largest > kLoudest) {
    throw UserError("samples up to " + ToText(largest) +
                    ", expected numbers in [-1, 1]; divide 16-bit numbers by 32768");
  }
}

void CheckSilence(const Meter &meter) {
  if ((meter.high - meter.low) / 2 > kFaint) {
    return;
  }
  const double least = meter.Largest() <= kSilence ? kSilence : kFaint;
  throw UserError((meter.Largest() <= least
                       ? "silent, no sample above " + ToText(least)
                       : "no sound, all samples are about " + ToText((meter.low + meter.high) / 2, 3)) +
                  "; leave the file out");
}

std::string Decibels(double ratio) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 20 * std::log10(ratio) << " dB";
  return text.str();
}

// The channel that stands for all where they cancel each other in their mean; else the number of channels.
size_t Loudest(const std::vector<Meter> &meters, const Meter &mean, size_t count) {
  const auto channels = static_cast<double>(meters.size());
  double sum = 0;
  double most = 0;
  for (const Meter &meter : meters) {
    sum += meter.Power(count);
    most = std::max(most, meter.Power(count));
  }
  if (meters.size() == 1 || mean.Power(count) >= kCancelled * sum / (channels * channels)) {
    return meters.size();
  }
  return std::find_if(meters.begin(), meters.end(),
                      [&](const Meter &meter) { return meter.Power(count) >= kAsLoud * most; }) -
         meters.begin();
}
}  // namespace

Sound FitSound(const Wav &wav, bool raise_quiet) {
  CheckRange(wav);
  const size_t count = wav.Count();
  Sound sound{std::vector<float>(count), {}};
  std::vector<Meter> meters(wav.channels);
  Meter mean;
  for (size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (size_t channel = 0; channel < wav.channels; ++channel) {
      const double value = wav.At(i, channel);
      meters[channel].Add(value);
      sum += value;
    }
    mean.Add(sum / static_cast<double>(wav.channels));
    sound.samples[i] = static_cast<float>(sum / static_cast<double>(wav.channels));
  }
  const size_t channel = Loudest(meters, mean, count);
  const bool alone = channel < wav.channels;
  for (size_t i = 0; alone && i < count; ++i) {
    sound.samples[i] = static_cast<float>(wav.At(i, channel));
  }
  const Meter &used = alone ? meters[channel] : mean;
  CheckSilence(used);
  if (wav.channels > 1) {
    sound.notes.push_back(std::to_string(wav.channels) + " channels" +
                          (alone ? " that cancel each other, only channel " + std::to_string(channel + 1) + " is used"
                                 : ", their mean is used"));
  }
  if (used.Largest() < kQuiet) {
    sound.gain = raise_quiet ? kLevel / used.Largest() : 1;
    sound.notes.push_back("quiet, its loudest sample is at " + Decibels(used.Largest()) + " of full scale; " +
                          (raise_quiet ? "raised by " + Decibels(sound.gain) : "record it louder"));
  }
  for (float &sample : sound.samples) {
    sample = static_cast<float>(sample * sound.gain);
  }
  return sound;
}
