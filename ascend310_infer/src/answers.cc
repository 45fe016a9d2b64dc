#include "answers.h"

#include <cstdio>
#include <iostream>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>

#include "answer.h"
#include "error.h"
#include "output.h"
#include "recording.h"
#include "speechzoo.h"
#include "text.h"

namespace {
constexpr size_t kBlock = 65536;  // samples taken from a speaker at a time

// A handle of the library, whose errors are exceptions.
class Zoo {
 public:
  Zoo(const Options &options, const nlohmann::json &graph) : description(graph) {
    nlohmann::json settings = {{"device_target", options.device.target},
                               {"device_id", options.device.id},
                               {"precision", options.device.precision},
                               {"threads", options.device.threads},
                               {"lm_path", options.lm_path},
                               {"timestamps", options.timestamps}};
    if (options.beam_width >= 0) {
      settings["beam_width"] = options.beam_width;
    }
    if (options.alpha) {
      settings["alpha"] = *options.alpha;
    }
    if (options.beta) {
      settings["beta"] = *options.beta;
    }
    handle_.reset(speechzoo_create(options.mindir_path.c_str(), settings.dump().c_str()));
    if (handle_ == nullptr) {
      throw UserError(speechzoo_error(nullptr));
    }
  }

  void Start(int64_t rate, int64_t length) { Check(speechzoo_start(handle_.get(), rate, length)); }

  // Runs the samples, and gives what comes out.
  void Push(const std::vector<float> &samples, Output *output) {
    Check(speechzoo_push(handle_.get(), samples.data(), samples.size()));
    Give(output);
  }

  void Finish(Output *output) {
    Check(speechzoo_finish(handle_.get()));
    Give(output);
  }

  const nlohmann::json description;

 private:
  void Check(int code) const {
    if (code == kSpeechzooMistake) {
      throw UserError(speechzoo_error(handle_.get()));
    }
    if (code != kSpeechzooFine) {
      throw std::runtime_error(speechzoo_error(handle_.get()));
    }
  }

  void Give(Output *output) {
    for (;;) {
      std::vector<std::vector<float>> voices(description.value("voices", 0U), std::vector<float>(kBlock));
      for (size_t i = 0; i < voices.size(); ++i) {
        voices[i].resize(speechzoo_samples(handle_.get(), static_cast<int>(i), voices[i].data(), kBlock));
      }
      if (voices.empty() || voices[0].empty()) {
        break;
      }
      output->AddVoices(voices);
    }
    while (const char *result = speechzoo_result(handle_.get())) {
      output->Add(nlohmann::json::parse(result));
    }
  }

  struct Free {
    void operator()(speechzoo *zoo) const { speechzoo_free(zoo); }
  };
  std::unique_ptr<speechzoo, Free> handle_;
};

// UserError for a graph whose answers are of another kind than the flags are for.
void CheckFlags(const Options &options, const nlohmann::json &graph) {
  struct Flag {
    const char *name;
    bool given;
    const char *kind;
  };
  const Flag flags[] = {{"timestamps", options.timestamps, "text"},
                        {"beam_width", options.beam_width > 0, "text"},
                        {"output_path", !options.output_path.empty(), "voices"},
                        {"embed", options.embed, "embedding"},
                        {"threshold", options.threshold.has_value(), "embedding"},
                        {"enrolled", !options.enrolled.empty(), "embedding"}};
  const std::string kind = graph.at("kind");
  for (const Flag &flag : flags) {
    if (flag.given && kind != flag.kind) {
      throw UserError(std::string("--") + flag.name + ": found with " + options.mindir_path + ", whose answers are " +
                      kind + ", expected a graph of " + flag.kind);
    }
  }
}

std::unique_ptr<Output> MakeOutput(const Options &options, const nlohmann::json &graph) {
  CheckFlags(options, graph);
  const std::string kind = graph.at("kind");
  const auto make = kind == "text" ? MakeTextOutput : kind == "voices" ? MakeVoicesOutput : MakeEmbeddingOutput;
  return make(options, graph);
}

// UserError for a recording of fewer samples than the graph takes.
void RequireLength(const Recording &recording, const nlohmann::json &graph) {
  const int64_t shortest = graph.at("shortest");
  const int64_t rate = graph.at("sample_rate");
  if (recording.frames() * rate < shortest * recording.rate()) {
    char text[200];
    std::snprintf(text, sizeof(text),
                  "%.2f s (%lld samples at %lld Hz), expected at least %.2f s (%lld at %lld Hz); leave the file out",
                  static_cast<double>(recording.frames()) / static_cast<double>(recording.rate()),
                  static_cast<long long>(recording.frames()), static_cast<long long>(recording.rate()),
                  static_cast<double>(shortest) / static_cast<double>(rate), static_cast<long long>(shortest),
                  static_cast<long long>(rate));
    throw UserError(text);
  }
}

void RunRecording(const std::string &path, Zoo *zoo, Output *output) {
  Recording recording(path);
  RequireLength(recording, zoo->description);
  recording.PrintNotes();
  output->Begin({path, recording.rate(), recording.frames(), recording.gain()});
  zoo->Start(recording.rate(), recording.frames());
  recording.Read(recording.rate(), [&](const std::vector<float> &samples) { zoo->Push(samples, output); });
  zoo->Finish(output);
  output->End();
}
}  // namespace

int RunAnswers(const Options &options) {
  const nlohmann::json graph = Describe(ReadAnswering(options.mindir_path));
  const std::unique_ptr<Output> output = MakeOutput(options, graph);  // mistakes before the work
  Zoo zoo(options, graph);
  size_t failed = 0;
  bool defect = false;
  for (const std::string &path : options.recordings) {
    try {
      RunRecording(path, &zoo, output.get());
      continue;
    } catch (const OutputError &) {
      throw;
    } catch (const UserError &error) {
      const std::string line = error.what();
      PrintLine("error", line.find(path) == 0 ? line : path + ": " + line);
    } catch (const std::bad_alloc &) {
      PrintLine("error", path + ": not enough memory for it; cut it into parts");
    } catch (const std::exception &error) {
      PrintDefect(path + ": ", error.what());
      defect = true;
    }
    ++failed;
  }
  output->Close(failed);
  if (!std::cout.flush()) {
    throw OutputError("standard output: cannot be written; free some space, or name another place");
  }
  if (failed > 0) {
    PrintLine("error", std::to_string(failed) + " of " + std::to_string(options.recordings.size()) +
                           " recordings not run, for the reasons above");
  }
  return defect ? 1 : failed > 0 ? 2 : 0;
}
