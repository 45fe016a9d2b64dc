// Beam search with an n-gram language model, as LanguageModelDecoder of deepspeech2/src/decoder.py: pyctcdecode's
// search and scores over KenLM. Of Mandarin each character is a word of the model.
#ifndef ASCEND310_INFER_INC_LANGUAGE_MODEL_H_
#define ASCEND310_INFER_INC_LANGUAGE_MODEL_H_

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "alphabet.h"
#include "log_probs.h"

class LanguageModel {
 public:
  // Of an ARPA file or a binary of KenLM. `alpha`: weight of its log probability; `beta`: reward of a word. UserError
  // for a file that KenLM refuses, and for a model in another spelling than the labels.
  LanguageModel(const std::filesystem::path &path, const Alphabet &alphabet, double alpha, double beta);
  ~LanguageModel();

  // The text with the most log p(text | audio) + alpha log p(text) + beta words, and that sum; `width` prefixes held.
  std::pair<std::string, double> Decode(const LogProbs &log_probs, size_t width) const;

 private:
  class Scorer;
  class Beginnings;
  class Beam;

  Alphabet alphabet_;
  std::unique_ptr<Scorer> scorer_;
};

#endif  // ASCEND310_INFER_INC_LANGUAGE_MODEL_H_
