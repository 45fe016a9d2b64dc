#include "level.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace {
constexpr double kSilent = 1e-10;  // of the mixture's power: -100 dB
constexpr double kRidge = 1e-3;    // RIDGE of level.py: an output this far below the others is not blown up

double Product(const std::vector<float> &one, const std::vector<float> &other) {
  return std::inner_product(one.begin(), one.end(), other.begin(), 0.0, std::plus<>(),
                            [](float a, float b) { return static_cast<double>(a) * b; });
}

// The x of A x = b by elimination; each row of `system` is one of A and the number of b.
std::vector<double> Solve(std::vector<std::vector<double>> system) {
  const size_t size = system.size();
  for (size_t i = 0; i < size; ++i) {
    const auto pivot = std::max_element(system.begin() + i, system.end(), [i](const auto &one, const auto &other) {
      return std::abs(one[i]) < std::abs(other[i]);
    });
    std::swap(system[i], *pivot);
    for (size_t row = i + 1; row < size; ++row) {
      const double factor = system[row][i] / system[i][i];
      for (size_t column = i; column <= size; ++column) {
        system[row][column] -= factor * system[i][column];
      }
    }
  }
  std::vector<double> solution(size);
  for (size_t i = size; i-- > 0;) {
    double rest = system[i][size];
    for (size_t column = i + 1; column < size; ++column) {
      rest -= system[i][column] * solution[column];
    }
    solution[i] = rest / system[i][i];
  }
  return solution;
}
}  // namespace

Level::Level(size_t speakers) : products_(speakers, std::vector<double>(speakers + 1)) {}

void Level::Add(const std::vector<float> &mixture, const Signals &speakers) {
  const size_t count = products_.size();
  power_ += Product(mixture, mixture);
  for (size_t i = 0; i < count; ++i) {
    products_[i][count] += Product(speakers[i], mixture);
    for (size_t j = i; j < count; ++j) {
      products_[i][j] += Product(speakers[i], speakers[j]);
      products_[j][i] = products_[i][j];
    }
  }
}

std::vector<double> Level::Gains() const {
  double trace = 0;
  for (size_t i = 0; i < products_.size(); ++i) {
    trace += products_[i][i];
  }
  const double ridge = kRidge * trace / static_cast<double>(products_.size()) + std::numeric_limits<double>::min();
  auto system = products_;
  for (size_t i = 0; i < system.size(); ++i) {
    system[i][i] += ridge;
  }
  return Solve(std::move(system));
}

std::vector<double> Level::Decibels() const {
  std::vector<double> decibels = Gains();
  for (size_t i = 0; i < decibels.size(); ++i) {
    const double share =
        decibels[i] * decibels[i] * products_[i][i] / std::max(power_, std::numeric_limits<double>::min());
    decibels[i] = 10 * std::log10(std::max(share, kSilent));
  }
  return decibels;
}

Signals Levelled(const std::vector<float> &mixture, Signals speakers) {
  Level level(speakers.size());
  level.Add(mixture, speakers);
  const std::vector<double> gains = level.Gains();
  for (size_t i = 0; i < speakers.size(); ++i) {
    for (float &sample : speakers[i]) {
      sample = static_cast<float>(gains[i] * sample);
    }
  }
  return speakers;
}
