#include "stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "answer.h"
#include "error.h"
#include "interrupt.h"
#include "output.h"
#include "text.h"
#include "zoo.h"

namespace {
// The next 16-bit samples of standard input; none at its end. `rest`: half a sample.
std::vector<float> ReadSamples(std::string *rest) {
  char bytes[16384];
  std::string content = std::move(*rest);
  rest->clear();
  while (content.size() < sizeof(int16_t)) {
    const ssize_t more = IsInterrupted() ? 0 : read(STDIN_FILENO, bytes, sizeof(bytes));
    if (more < 0 && errno != EINTR) {
      throw UserError(std::string("standard input: cannot be read (") + std::strerror(errno) + ")");
    }
    if (more == 0 || IsInterrupted()) {
      return {};
    }
    content.append(bytes, static_cast<size_t>(std::max<ssize_t>(more, 0)));
  }
  std::vector<float> samples(content.size() / sizeof(int16_t));
  for (size_t i = 0; i < samples.size(); ++i) {
    int16_t value = 0;
    std::memcpy(&value, content.data() + i * sizeof(value), sizeof(value));
    samples[i] = static_cast<float>(value) / 32768.0F;
  }
  *rest = content.substr(samples.size() * sizeof(int16_t));
  return samples;
}

Interface ReadStreamingInterface(const Options &options) {
  Interface interface = ReadAnswering(options.mindir_path);
  if (interface.streaming.samples == 0) {
    throw UserError(options.mindir_path +
                    ": takes whole recordings, but --stream a graph of export.py --streaming; export one");
  }
  if (isatty(STDIN_FILENO) != 0) {
    throw UserError(
        "standard input: is a terminal, expected raw 16-bit samples, such as those of arecord -t raw -f S16_LE -c 1");
  }
  return interface;
}

void PrintBeginning(int64_t rate, double latency) {
  char text[160];
  std::snprintf(text, sizeof(text), "listening at %lld Hz; an answer is complete %.2f s after its sound",
                static_cast<long long>(rate), latency);
  PrintLine("note", text);
}
}  // namespace

int RunStream(const Options &options) {
  const Interface interface = ReadStreamingInterface(options);
  const nlohmann::json graph = Describe(interface);
  const std::unique_ptr<Output> output = MakeOutput(options, graph);  // mistakes before the work
  const int64_t rate = options.sample_rate > 0 ? options.sample_rate : interface.sample_rate;
  Zoo zoo(options, options.json);
  zoo.Start(rate, 0);
  PrintBeginning(rate, graph.at("latency"));
  NoteInterruptsOfReads();
  bool heard = false;
  std::string rest;
  for (std::vector<float> samples = ReadSamples(&rest); !samples.empty(); samples = ReadSamples(&rest)) {
    if (!heard) {
      output->Begin({"", rate, 1});
    }
    heard = true;
    zoo.Push(samples, output.get());
  }
  if (!heard) {
    throw UserError("standard input: holds no samples, expected raw 16-bit samples at " + std::to_string(rate) + " Hz");
  }
  zoo.Finish(output.get());
  output->End();
  FlushOutput();
  return 0;
}
