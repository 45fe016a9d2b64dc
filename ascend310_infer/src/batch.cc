#include "batch.h"

#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>

#include "error.h"
#include "files.h"
#include "gears.h"
#include "interface.h"
#include "interrupt.h"
#include "items.h"
#include "report.h"
#include "session.h"
#include "text.h"

namespace fs = std::filesystem;

namespace {
using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Divides the floats of an output.
void Divide(std::string *output, double gain) {
  for (size_t place = 0; place + sizeof(float) <= output->size(); place += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, output->data() + place, sizeof(value));
    value = static_cast<float>(value / gain);
    std::memcpy(output->data() + place, &value, sizeof(value));
  }
}

std::vector<std::string> RunItem(const Item &item, const Interface &interface, const Options &options, Session *session,
                                 Report *report) {
  std::vector<HostTensor> recording = ReadItem(item, interface);
  const int64_t length = recording[0].shape[1];
  const double gain = recording[0].gain;
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
  for (size_t i = 0; i < outputs.size() && gain != 1; ++i) {
    if (i < interface.outputs.size() && interface.outputs[i].scales) {
      Divide(&outputs[i], gain);
    }
  }
  report->audio_seconds += static_cast<double>(length) * interface.step_seconds;
  return outputs;
}

void WriteOutputs(const Item &item, const std::vector<std::string> &outputs, const fs::path &folder) {
  const fs::path target = folder / item.name;
  MakeFolder(target.parent_path());
  for (size_t i = 0; i < outputs.size(); ++i) {
    WriteFile(target.string() + "_" + std::to_string(i) + ".bin", outputs[i]);
  }
}

// What became of a batch.
struct Outcome {
  size_t failed = 0;
  bool defect = false;
  std::string unwritten;  // why it ended early; empty: it did not
};

Outcome RunItems(const std::vector<Item> &items, const Interface &interface, const Options &options, Session *session,
                 Report *report) {
  Outcome outcome;
  for (const Item &item : items) {
    const std::string file = item.files[0].string() + ": ";
    CheckInterrupt();
    try {
      WriteOutputs(item, RunItem(item, interface, options, session, report), options.output_path);
      continue;
    } catch (const OutputError &error) {
      outcome.unwritten = error.what();
      return outcome;
    } catch (const UserError &error) {
      PrintLine("error", error.what());
    } catch (const std::bad_alloc &) {
      PrintLine("error", file + "not enough memory for it; cut it into parts");
    } catch (const std::exception &error) {
      PrintDefect(file, error.what());
      outcome.defect = true;
    }
    ++outcome.failed;
  }
  return outcome;
}

}  // namespace

int RunBatch(const Options &options) {
  const Interface interface = ReadInterface(options.mindir_path);
  RefuseSteps(interface, options.mindir_path);
  const fs::path folder = options.output_path;
  const std::vector<Item> items = FindItems(options.input_path, folder, interface);
  RequireWritable(folder);
  Report report;
  const auto start = Clock::now();
  Session session(options.mindir_path, options.device, interface);
  report.build_ms = Milliseconds(start);
  const Outcome outcome = RunItems(items, interface, options, &session, &report);
  std::cout << report.ToText() << std::flush;
  if (!outcome.unwritten.empty()) {
    throw OutputError(outcome.unwritten);
  }
  WriteFile(folder / "time_report.txt", report.ToText());
  PrintFailures(outcome.failed, items.size(), "items");
  return outcome.defect ? 1 : outcome.failed > 0 ? 2 : 0;
}
