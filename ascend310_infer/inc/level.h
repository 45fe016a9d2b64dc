// The level of separated speakers, as conv_tasnet/src/level.py computes it.
#ifndef ASCEND310_INFER_INC_LEVEL_H_
#define ASCEND310_INFER_INC_LEVEL_H_

#include <cstddef>
#include <vector>

using Signals = std::vector<std::vector<float>>;  // of several speakers, all equally long

// The gain of each speaker with which their sum comes closest to the mixture, in least squares; part by part.
class Level {
 public:
  explicit Level(size_t speakers);

  // A part of the recording.
  void Add(const std::vector<float> &mixture, const Signals &speakers);

  // 0 for speakers that are silent throughout.
  std::vector<double> Gains() const;

  // How loud each speaker is against the mixture; -100 where it is silent.
  std::vector<double> Decibels() const;

 private:
  std::vector<std::vector<double>> products_;  // of each speaker with each, and with the mixture
  double power_ = 0;                           // of the mixture
};

// Speakers at the level they have in the mixture.
Signals Levelled(const std::vector<float> &mixture, Signals speakers);

#endif  // ASCEND310_INFER_INC_LEVEL_H_
