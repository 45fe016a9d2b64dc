#include "output.h"

#include <iostream>
#include <map>

#include "error.h"

namespace {
// UserError for a graph whose answers are of another kind than the flags are for.
void CheckFlags(const Options &options, const nlohmann::json &graph) {
  const std::map<std::string, std::string> kinds = {
      {"timestamps", "text"}, {"beam_width", "text"},     {"lm_path", "text"},
      {"alpha", "text"},      {"beta", "text"},           {"output_path", "voices"},
      {"embed", "embedding"}, {"threshold", "embedding"}, {"enrolled", "embedding"}};
  const std::string kind = graph.at("kind");
  for (const auto &[flag, wanted] : kinds) {
    if (options.given.count(flag) > 0 && kind != wanted) {
      throw UserError("--" + flag + ": found with " + options.mindir_path + ", whose answers are " + kind +
                      ", expected a graph of " + wanted);
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
