#include "answer.h"

#include <stdexcept>

#include "embedding.h"
#include "error.h"
#include "voices.h"

std::unique_ptr<Answer> MakeAnswer(const Interface &interface, WaveformGraph *graph, const AnswerSettings &,
                                   int64_t length, Outlet outlet) {
  switch (interface.answer.kind) {
    case AnswerKind::Kind::kText:
      throw UserError("recordings are not answered yet; run the graph over a folder with --input_path");
    case AnswerKind::Kind::kVoices:
      return std::make_unique<VoicesAnswer>(interface, graph, std::move(outlet));
    case AnswerKind::Kind::kEmbedding:
      return std::make_unique<EmbeddingAnswer>(interface, graph, length, std::move(outlet));
    case AnswerKind::Kind::kNone:
      break;
  }
  throw std::logic_error("a graph without an answer");
}
