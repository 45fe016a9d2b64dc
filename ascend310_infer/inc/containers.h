// Whether a sound file is whole, before libsndfile decodes it, which takes a cut one for a shorter one and of two files
// joined with cat only the first. As utils/audio/containers.py.
#ifndef ASCEND310_INFER_INC_CONTAINERS_H_
#define ASCEND310_INFER_INC_CONTAINERS_H_

#include <cstdint>
#include <optional>

#include "input_file.h"

// Of a FLAC, Ogg, MP3, AIFF, AU, CAF, Wave64 or NIST SPHERE: the samples of a channel of an MP3 that does not tell
// their number, 0 for others, of which libsndfile knows it. None for other files. UserError, which does not name the
// file, where it is cut or damaged, or holds a second recording.
std::optional<int64_t> CheckContainer(const InputFile &file);

#endif  // ASCEND310_INFER_INC_CONTAINERS_H_
