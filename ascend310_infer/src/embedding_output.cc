#include <cstdio>
#include <iostream>
#include <numeric>

#include "error.h"
#include "output.h"

namespace {
double Cosine(const std::vector<float> &first, const std::vector<float> &second) {
  return std::inner_product(first.begin(), first.end(), second.begin(), 0.0);
}

class EmbeddingOutput : public Output {
 public:
  EmbeddingOutput(const Options &options, const nlohmann::json &graph) : options_(options) {
    if (!options.embed && options.recordings.size() != 2) {
      throw UserError(std::to_string(options.recordings.size()) +
                      " recording(s) given, two are compared; --embed takes any number");
    }
    if (options.threshold) {
      threshold_ = *options.threshold;
    } else if (graph.contains("threshold")) {
      threshold_ = graph.at("threshold");
    } else if (!options.embed) {
      throw UserError(
          "the graph's checkpoint was trained without validation trials and holds no threshold; pass "
          "--threshold");
    }
  }

  void Begin(const Source &source) override { path_ = source.path; }

  void Add(const nlohmann::json &result) override { embedding_ = result.at("embedding").get<std::vector<float>>(); }

  void End() override {
    if (options_.embed) {
      std::cout << nlohmann::json{{"file", path_}, {"embedding", embedding_}}.dump() << std::endl;
    }
    embeddings_.push_back(embedding_);
  }

  void Close(size_t failed) override {
    if (options_.embed || failed > 0) {
      return;
    }
    const double score = Cosine(embeddings_[0], embeddings_[1]);
    const bool same = score >= threshold_;
    if (options_.json) {
      std::cout << nlohmann::json{{"files", options_.recordings},
                                  {"score", score},
                                  {"threshold", threshold_},
                                  {"same", same}}
                       .dump()
                << std::endl;
      return;
    }
    std::printf("%s speaker: score %.3f, threshold %.3f\n", same ? "same" : "different", score, threshold_);
  }

 private:
  const Options options_;
  double threshold_ = 0;
  std::string path_;
  std::vector<float> embedding_;
  std::vector<std::vector<float>> embeddings_;
};
}  // namespace

std::unique_ptr<Output> MakeEmbeddingOutput(const Options &options, const nlohmann::json &graph) {
  return std::make_unique<EmbeddingOutput>(options, graph);
}
