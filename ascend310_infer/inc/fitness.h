// Whether a recording is fit for a network, as utils/audio/fitness.py says of files for Python's programs.
#ifndef ASCEND310_INFER_INC_FITNESS_H_
#define ASCEND310_INFER_INC_FITNESS_H_

#include <string>
#include <vector>

#include "wav.h"

struct Sound {
  std::vector<float> samples;      // one channel
  std::vector<std::string> notes;  // what a user should know of it
  double gain = 1;                 // what the samples were multiplied by
};

// The mean of the channels, or the loudest one where they cancel each other; a quiet recording raised to the level of
// others where `raise_quiet`. UserError for samples that are not finite, of another scale, silent or constant.
Sound FitSound(const Wav &wav, bool raise_quiet);

#endif  // ASCEND310_INFER_INC_FITNESS_H_
