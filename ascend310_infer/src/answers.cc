#include "answers.h"

#include <cstdio>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>

#include "answer.h"
#include "error.h"
#include "interrupt.h"
#include "output.h"
#include "recording.h"
#include "text.h"
#include "zoo.h"

namespace {
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

void RunRecording(const std::string &path, const nlohmann::json &graph, Zoo *zoo, Output *output) {
  Recording recording(path);
  RequireLength(recording, graph);
  recording.PrintNotes();
  output->Begin({path, recording.rate(), recording.gain()});
  zoo->Start(recording.rate(), recording.frames());
  recording.Read(recording.rate(), [&](const std::vector<float> &samples) {
    CheckInterrupt();
    zoo->Push(samples, output);
  });
  zoo->Finish(output);
  output->End();
}
}  // namespace

int RunAnswers(const Options &options) {
  const Interface interface = ReadAnswering(options.mindir_path);
  RefuseSteps(interface, options.mindir_path);
  const nlohmann::json graph = Describe(interface);
  const std::unique_ptr<Output> output = MakeOutput(options, graph);  // mistakes before the work
  Zoo zoo(options);
  size_t failed = 0;
  bool defect = false;
  for (const std::string &path : options.recordings) {
    try {
      RunRecording(path, graph, &zoo, output.get());
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
  FlushOutput();
  PrintFailures(failed, options.recordings.size(), "recordings");
  return defect ? 1 : failed > 0 ? 2 : 0;
}
