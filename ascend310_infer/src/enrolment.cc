#include "enrolment.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "error.h"
#include "files.h"

namespace {
constexpr int kFormat = 1;
constexpr double kTolerance = 1e-3;  // of a length of 1
constexpr char kForeign[] = "no file of enrolled voices; name another, or enrol the voices again with --enrol";

double Length(const Embedding &embedding) {
  double power = 0;
  for (const double value : embedding) {
    power += value * value;
  }
  return std::sqrt(power);
}
}  // namespace

void MakeUnit(Embedding *embedding) {
  const double length = Length(*embedding);
  if (length <= 0) {
    throw UserError("the embedding has no direction; export the graph again");
  }
  for (float &value : *embedding) {
    value = static_cast<float>(value / length);
  }
}

double Cosine(const Embedding &first, const Embedding &second) {
  return std::inner_product(first.begin(), first.end(), second.begin(), 0.0);
}

Enrolment Enrolment::Read(const std::filesystem::path &path, size_t size) {
  std::ifstream file(path);
  if (!std::filesystem::is_regular_file(path) || !file) {
    throw UserError(path.string() + ": no such file; --enrol NAME writes one");
  }
  Enrolment enrolment(size);
  try {
    const nlohmann::json json = nlohmann::json::parse(file);
    const auto &format = json.at("format");
    if (format.is_number_integer() && format.get<int64_t>() > kFormat) {
      throw UserError(path.string() + ": format " + format.dump() + ", but this program reads up to " +
                      std::to_string(kFormat) + "; a later version is needed");
    }
    if (format != kFormat || !json.at("voices").is_object()) {
      throw UserError(path.string() + ": " + kForeign);
    }
    for (const auto &[name, embeddings] : json.at("voices").items()) {
      for (const auto &numbers : embeddings) {
        const auto embedding = numbers.get<Embedding>();
        if (embedding.size() != size) {
          throw UserError(path.string() + ": embeddings of " + std::to_string(embedding.size()) +
                          " numbers, but the graph gives " + std::to_string(size) +
                          "; take the graph that they were enrolled with, or enrol them again");
        }
        if (!(std::abs(Length(embedding) - 1) <= kTolerance)) {
          throw UserError(path.string() + ": " + kForeign);
        }
        enrolment.Add(name, embedding);
      }
    }
  } catch (const nlohmann::json::exception &) {
    throw UserError(path.string() + ": " + kForeign);
  }
  return enrolment;
}

void Enrolment::Write(const std::filesystem::path &path) const {
  WriteFile(path, nlohmann::json{{"format", kFormat}, {"voices", voices_}}.dump() + "\n");
}

std::map<std::string, Embedding> Enrolment::Means() const {
  std::map<std::string, Embedding> means;
  for (const auto &[name, embeddings] : voices_) {
    Embedding sum(size_);
    for (const Embedding &embedding : embeddings) {
      for (size_t i = 0; i < size_; ++i) {
        sum[i] += embedding[i];
      }
    }
    MakeUnit(&sum);
    means.emplace(name, sum);
  }
  return means;
}
