// What the network computes -> labels, as deepspeech2/src/decoder.py.
#ifndef ASCEND310_INFER_INC_DECODER_H_
#define ASCEND310_INFER_INC_DECODER_H_

#include <utility>
#include <vector>

#include "alphabet.h"
#include "log_probs.h"

// The most probable label of every frame: one of each run of equals, then without blanks.
Labels Greedy(const LogProbs &log_probs, int blank);

// CTC prefix beam search (Hannun et al., arXiv:1408.2873): texts and their log probabilities, at most `width`, best
// first. A text's probability is that of all its alignments, a lower bound of it where the beam dropped some.
std::vector<std::pair<Labels, double>> BeamSearch(const LogProbs &log_probs, int blank, size_t width);

#endif  // ASCEND310_INFER_INC_DECODER_H_
