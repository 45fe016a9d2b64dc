// Runs an exported graph over a folder of files:
//
//   main --mindir_path FILE --input_path FOLDER --output_path FOLDER [--device_target Ascend|CPU] [--device_id N]
//        [--precision NAME] [--threads N] [--warmup N]
//
// Writes <name>_<output>.bin for every item and time_report.txt. A file that cannot be run is reported and skipped.
// Exit code 0 where all items were run, 2 where some or all could not be.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "error.h"
#include "gears.h"
#include "interface.h"
#include "items.h"
#include "options.h"
#include "report.h"
#include "session.h"

namespace fs = std::filesystem;

namespace {
using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void WriteFile(const fs::path &path, const std::string &content) {
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) {
    throw UserError(path.string() + ": cannot be written; free some space or mend the permissions");
  }
}

void RunItem(const Item &item, const Interface &interface, const Options &options, Session *session, Report *report) {
  std::vector<HostTensor> recording = ReadItem(item, interface);
  const int64_t length = recording[0].shape[1];
  std::vector<std::string> outputs;
  try {
    if (length < interface.shortest) {
      throw UserError(std::to_string(length) + " long, but the graph takes " + std::to_string(interface.shortest) +
                      " and more; leave the file out");
    }
    const std::vector<HostTensor> inputs = PadToGear(std::move(recording), interface);
    for (int i = 0; report->predict_ms.empty() && i < options.warmup; ++i) {
      session->Predict(inputs);
    }
    const auto start = Clock::now();
    outputs = session->Predict(inputs);
    report->predict_ms.push_back(Milliseconds(start));
    outputs = CutToLength(std::move(outputs), length, interface);
  } catch (const UserError &error) {
    throw UserError(item.files[0].string() + ": " + error.what());
  }
  report->audio_seconds += static_cast<double>(length) * interface.step_seconds;
  const fs::path target = fs::path(options.output_path) / item.name;
  fs::create_directories(target.parent_path());
  for (size_t i = 0; i < outputs.size(); ++i) {
    WriteFile(target.string() + "_" + std::to_string(i) + ".bin", outputs[i]);
  }
}

// The number of items that could not be run.
size_t Run(const Options &options) {
  const Interface interface = ReadInterface(options.mindir_path);
  const std::vector<Item> items = FindItems(options.input_path, interface);
  fs::create_directories(options.output_path);
  Report report;
  const auto start = Clock::now();
  Session session(options, interface);
  report.build_ms = Milliseconds(start);
  size_t failed = 0;
  for (const Item &item : items) {
    try {
      RunItem(item, interface, options, &session, &report);
    } catch (const UserError &error) {
      std::cerr << "error: " << error.what() << std::endl;
      ++failed;
    }
  }
  WriteFile(fs::path(options.output_path) / "time_report.txt", report.ToText());
  std::cout << report.ToText();
  if (failed > 0) {
    std::cerr << "error: " << failed << " of " << items.size() << " items not run, for the reasons above" << std::endl;
  }
  return failed;
}
}  // namespace

int main(int argc, char **argv) {
  try {
    return Run(ParseOptions(argc, argv)) == 0 ? 0 : 2;
  } catch (const UserError &error) {
    std::cerr << "error: " << error.what() << std::endl;
  } catch (const fs::filesystem_error &error) {
    std::cerr << "error: " << error.what() << std::endl;
  }
  return 2;
}
