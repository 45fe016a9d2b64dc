// What the network computes -> text, as deepspeech2/src/decoder.py.
#ifndef ASCEND310_INFER_INC_DECODER_H_
#define ASCEND310_INFER_INC_DECODER_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "alphabet.h"
#include "log_probs.h"

constexpr int kModelWidth = 100;

// The most probable label of every frame: one of each run of equals, then without blanks.
Labels Greedy(const LogProbs &log_probs, int blank);

// CTC prefix beam search (Hannun et al., arXiv:1408.2873): texts and their log probabilities, at most `width`, best
// first. A text's probability is that of all its alignments, a lower bound of it where the beam dropped some.
std::vector<std::pair<Labels, double>> BeamSearch(const LogProbs &log_probs, int blank, size_t width);

// The text of log probabilities.
using TextDecoder = std::function<std::string(const LogProbs &)>;

struct DecoderSettings {
  int64_t beam_width = 0;  // prefixes held; 0: greedy, or kModelWidth with a language model
  std::string lm_path;     // ARPA file or binary of KenLM; empty: none
  double alpha = 0.8;      // weight of its log probability
  double beta = 1.0;       // reward of a word
};

// UserError for a language model that cannot be had or does not fit the labels.
TextDecoder MakeDecoder(const Alphabet &alphabet, const DecoderSettings &settings);

#endif  // ASCEND310_INFER_INC_DECODER_H_
