// Where a known text lies in a recording, as deepspeech2/src/alignment.py.
#ifndef ASCEND310_INFER_INC_ALIGNMENT_H_
#define ASCEND310_INFER_INC_ALIGNMENT_H_

#include <string>
#include <vector>

#include "alphabet.h"
#include "log_probs.h"

// A word and when it is said, in seconds.
struct Word {
  std::string text;
  double start = 0;
  double end = 0;
};

// The words of `text`, each from its first letter's first frame to its last letter's last, on the most probable path
// of CTC. UserError where there is none.
std::vector<Word> WordTimes(const LogProbs &log_probs, const std::string &text, const Alphabet &alphabet,
                            double seconds_per_frame);

#endif  // ASCEND310_INFER_INC_ALIGNMENT_H_
