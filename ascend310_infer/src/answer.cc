#include "answer.h"

#include <stdexcept>

#include "embedding.h"
#include "error.h"
#include "text_answer.h"
#include "voices.h"

Interface ReadAnswering(const std::filesystem::path &mindir_path) {
  const std::string path = mindir_path.string();
  Interface interface = ReadInterface(path);
  if (interface.streaming.samples == 0 && !interface.TakesWaveform()) {
    throw UserError(path + ": takes " + interface.inputs[0].name +
                    ", expected a waveform; export it with --input waveform");
  }
  if (interface.answer.kind == AnswerKind::Kind::kNone) {
    throw UserError(path + ": the inputs.json beside it says no answer, as those of earlier versions; export it again");
  }
  return interface;
}

nlohmann::json Describe(const Interface &interface) {
  using Kind = AnswerKind::Kind;
  const Kind kind = interface.answer.kind;
  nlohmann::json json = {{"kind", kind == Kind::kText     ? "text"
                                  : kind == Kind::kVoices ? "voices"
                                                          : "embedding"},
                         {"sample_rate", interface.sample_rate},
                         {"shortest", interface.shortest}};
  if (kind == Kind::kVoices) {
    json["voices"] = interface.outputs[0].shape[1];
  } else if (kind == Kind::kEmbedding) {
    json["size"] = interface.outputs[0].shape[1];
  }
  if (interface.streaming.samples > 0) {
    json["latency"] = static_cast<double>(interface.streaming.Latency()) / static_cast<double>(interface.sample_rate);
  }
  if (interface.answer.threshold) {
    json["threshold"] = *interface.answer.threshold;
  }
  if (const auto &calibration = interface.answer.calibration) {
    json["calibration"] = {
        {"scale", calibration->scale}, {"offset", calibration->offset}, {"duration", calibration->duration}};
  }
  return json;
}

std::unique_ptr<Answer> MakeAnswer(const Interface &interface, WaveformGraph *graph, const AnswerSettings &settings,
                                   int64_t length, Outlet outlet) {
  switch (interface.answer.kind) {
    case AnswerKind::Kind::kText:
      return std::make_unique<TextAnswer>(interface, graph, settings, std::move(outlet));
    case AnswerKind::Kind::kVoices:
      return std::make_unique<VoicesAnswer>(interface, graph, std::move(outlet));
    case AnswerKind::Kind::kEmbedding:
      return std::make_unique<EmbeddingAnswer>(interface, graph, length, std::move(outlet));
    case AnswerKind::Kind::kNone:
      break;
  }
  throw std::logic_error("a graph without an answer");
}
