#include "output.h"

#include <iostream>

#include "error.h"

namespace {
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
}  // namespace

std::unique_ptr<Output> MakeOutput(const Options &options, const nlohmann::json &graph) {
  CheckFlags(options, graph);
  const std::string kind = graph.at("kind");
  const auto make = kind == "text"     ? MakeTextOutput
                    : kind != "voices" ? MakeEmbeddingOutput
                    : options.stream   ? MakeLiveVoicesOutput
                                       : MakeVoicesOutput;
  return make(options, graph);
}

void PrintJson(const nlohmann::json &json) {
  std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

void FlushOutput() {
  if (!std::cout.flush()) {
    throw OutputError("standard output: cannot be written; free some space, or name another place");
  }
}
