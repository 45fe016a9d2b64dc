#include "text_answer.h"

#include <utility>

TextAnswer::TextAnswer(const Interface &interface, WaveformGraph *graph, const AnswerSettings &settings, Outlet outlet)
    : transcriber_(
          interface.answer, interface.sample_rate, {graph->Longest(), !graph->TakesFewer()},
          [graph](const std::vector<float> &samples) { return std::move(graph->Run(samples)[0]); }, settings.decode,
          settings.timestamps, [give = std::move(outlet.result)](const Segment &segment) { give(ToJson(segment)); }) {}

nlohmann::json ToJson(const Segment &segment) {
  nlohmann::json words = nlohmann::json::array();
  for (const Word &word : segment.words) {
    words.push_back({{"start", word.start}, {"end", word.end}, {"text", word.text}});
  }
  return {{"start", segment.start}, {"end", segment.end}, {"text", segment.text}, {"words", std::move(words)}};
}
