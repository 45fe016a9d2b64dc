#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "enrolment.h"
#include "error.h"
#include "files.h"
#include "interface.h"
#include "output.h"

namespace {
constexpr double kLeastSeconds = 1e-3;

std::string Scores(double score, double threshold) {
  char text[64];
  std::snprintf(text, sizeof(text), "score %.3f, threshold %.3f", score, threshold);
  return text;
}

double ThresholdOf(const Options &options, const nlohmann::json &graph) {
  if (options.threshold) {
    return *options.threshold;
  }
  if (!graph.contains("threshold")) {
    throw UserError(options.mindir_path +
                    ": its checkpoint was trained without validation trials and has no threshold; pass --threshold");
  }
  return graph.at("threshold");
}

class EmbeddingOutput : public Output {
 public:
  explicit EmbeddingOutput(const Options &options) : options_(options) {}

  void Begin(const Source &source) override { path_ = source.path; }
  void Add(const nlohmann::json &result) override {
    embedding_ = result.at("embedding").get<Embedding>();
    seconds_ = result.at("seconds");
  }

 protected:
  const Options options_;
  std::string path_;
  Embedding embedding_;  // of that recording
  double seconds_ = 0;   // and its length
};

// The embeddings themselves.
class Embeddings : public EmbeddingOutput {
 public:
  using EmbeddingOutput::EmbeddingOutput;

  void End() override { PrintJson({{"file", path_}, {"embedding", embedding_}}); }
};

// Whether two recordings are of one speaker.
class Verification : public EmbeddingOutput {
 public:
  Verification(const Options &options, double threshold, const nlohmann::json &graph)
      : EmbeddingOutput(options), threshold_(threshold) {
    if (graph.contains("calibration")) {
      const nlohmann::json &calibration = graph.at("calibration");
      calibration_ = Calibration{calibration.at("scale"), calibration.at("offset"), calibration.at("duration")};
    }
    if (options.recordings.size() != 2) {
      throw UserError(std::to_string(options.recordings.size()) +
                      " recording(s) given, two are compared; --embed and --enrolled take any number");
    }
  }

  void End() override {
    embeddings_.push_back(embedding_);
    inverse_seconds_ += 1 / std::max(seconds_, kLeastSeconds);
  }

  void Close(size_t failed) override {
    if (failed > 0) {
      return;
    }
    const double score = Cosine(embeddings_[0], embeddings_[1]);
    const double threshold = Threshold();
    const bool same = score >= threshold;
    if (options_.json) {
      nlohmann::json json = {
          {"files", options_.recordings}, {"score", score}, {"threshold", threshold}, {"same", same}};
      if (calibration_) {
        json["llr"] = Llr(score);
      }
      PrintJson(json);
    } else {
      std::cout << (same ? "same" : "different") << " speaker: " << Scores(score, threshold);
      if (calibration_) {
        char text[64];
        std::snprintf(text, sizeof(text), ", log-likelihood ratio %+.2f", Llr(score));
        std::cout << text;
      }
      std::cout << std::endl;
    }
  }

 private:
  // What the ratio has that does not depend on the score.
  double Offset() const { return calibration_->offset - calibration_->duration * std::log(inverse_seconds_); }

  double Llr(double score) const { return calibration_->scale * score + Offset(); }

  // The score whose ratio is 0, unless another one is asked for.
  double Threshold() const {
    return calibration_ && !options_.threshold ? -Offset() / calibration_->scale : threshold_;
  }

  const double threshold_;
  std::optional<Calibration> calibration_;
  std::vector<Embedding> embeddings_;
  double inverse_seconds_ = 0;  // the sum over the recordings
};

// Each recording against all enrolled voices.
class Identification : public EmbeddingOutput {
 public:
  Identification(const Options &options, double threshold, size_t size)
      : EmbeddingOutput(options), threshold_(threshold), means_(Enrolment::Read(options.enrolled, size).Means()) {
    if (means_.empty()) {
      throw UserError(options.enrolled + ": has no voices; --enrol NAME adds one");
    }
  }

  void End() override {
    nlohmann::json scores = nlohmann::json::object();
    std::string nearest = means_.begin()->first;
    for (const auto &[name, mean] : means_) {
      scores[name] = Cosine(embedding_, mean);
      nearest = scores[name] > scores[nearest] ? name : nearest;
    }
    const double score = scores[nearest];
    const bool same = score >= threshold_;
    if (options_.json) {
      PrintJson({{"file", path_}, {"nearest", nearest}, {"same", same}, {"scores", scores}, {"threshold", threshold_}});
    } else {
      std::cout << path_ << ": " << (same ? "" : "no enrolled voice, nearest ") << nearest << ", "
                << Scores(score, threshold_) << std::endl;
    }
  }

 private:
  const double threshold_;
  const std::map<std::string, Embedding> means_;
};

// Adds the recordings to the enrolled voices.
class Enrolling : public EmbeddingOutput {
 public:
  Enrolling(const Options &options, size_t size) : EmbeddingOutput(options), size_(size) {
    Known();  // mistakes before the work
    const std::filesystem::path folder = std::filesystem::path(options.enrolled).parent_path();
    RequireWritable(folder.empty() ? "." : folder);
  }

  void End() override { added_.push_back(embedding_); }

  void Close(size_t failed) override {
    if (failed == options_.recordings.size()) {
      return;
    }
    const size_t count = Write();
    if (options_.json) {
      PrintJson({{"file", options_.enrolled}, {"voice", options_.enrol}, {"utterances", count}});
    } else {
      std::cout << options_.enrolled << ": " << options_.enrol << " has " << count
                << (count == 1 ? " utterance" : " utterances") << std::endl;
    }
  }

 private:
  // The voices that are enrolled already.
  Enrolment Known() const {
    return std::filesystem::exists(options_.enrolled) ? Enrolment::Read(options_.enrolled, size_) : Enrolment(size_);
  }

  // Adds the recordings to the file as it is by now: others may have enrolled voices meanwhile. The utterances of the
  // voice.
  size_t Write() const {
    const FileLock lock(options_.enrolled);
    Enrolment enrolment = Known();
    for (const Embedding &embedding : added_) {
      enrolment.Add(options_.enrol, embedding);
    }
    enrolment.Write(options_.enrolled);
    return enrolment.Utterances(options_.enrol);
  }

  const size_t size_;
  std::vector<Embedding> added_;
};
}  // namespace

std::unique_ptr<Output> MakeEmbeddingOutput(const Options &options, const nlohmann::json &graph) {
  const size_t size = graph.at("size");
  if (options.embed) {
    return std::make_unique<Embeddings>(options);
  }
  if (!options.enrol.empty()) {
    return std::make_unique<Enrolling>(options, size);
  }
  const double threshold = ThresholdOf(options, graph);
  if (!options.enrolled.empty()) {
    return std::make_unique<Identification>(options, threshold, size);
  }
  return std::make_unique<Verification>(options, threshold, graph);
}
