#include "error.h"
#include "output.h"

std::unique_ptr<Output> MakeVoicesOutput(const Options &, const nlohmann::json &) {
  throw UserError("voices are not written yet; run the graph over a folder with --input_path");
}
