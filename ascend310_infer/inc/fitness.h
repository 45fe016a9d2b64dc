// Whether a recording is fit for a network, as utils/audio/fitness.py says of files for Python's programs.
#ifndef ASCEND310_INFER_INC_FITNESS_H_
#define ASCEND310_INFER_INC_FITNESS_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

// The levels of a recording, block by block.
class Meter {
 public:
  explicit Meter(size_t channels) : levels_(channels + 1) {}

  // The next samples; those of all channels at one time stand together.
  void Add(const std::vector<float> &samples);

  // UserError for samples that are not finite, of another scale, silent or constant.
  void Check() const;

  // Of every channel.
  int64_t count() const { return count_; }

  // The loudest channel where they cancel each other in their mean, which is used else.
  std::optional<size_t> Channel() const;

  // What raises a quiet recording to the level of others; 1 for others.
  double Gain() const;

  // What a user should know of a recording that is used, and raised where it is quiet if `raise_quiet`.
  std::vector<std::string> Notes(bool raise_quiet) const;

 private:
  struct Level {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();
    double sum = 0;
    double squares = 0;

    void Add(double value);
    double Power(int64_t count) const;  // without the mean
    double Largest() const;
  };

  size_t channels() const { return levels_.size() - 1; }
  const Level &Used() const;

  std::vector<Level> levels_;  // of each channel, then of their mean
  int64_t count_ = 0;
  bool finite_ = true;
};

#endif  // ASCEND310_INFER_INC_FITNESS_H_
