// Whether a sound file is whole, before libsndfile decodes it, which takes a cut one for a shorter one and of two files
// joined with cat only the first. As utils/audio/containers.py.
#ifndef ASCEND310_INFER_INC_CONTAINERS_H_
#define ASCEND310_INFER_INC_CONTAINERS_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "input_file.h"

// Of a FLAC, Ogg, MP3, AIFF, AU, CAF, Wave64 or NIST SPHERE: the samples of a channel of an MP3 that does not tell
// their number, 0 for others, of which libsndfile knows it. None for other files. UserError, which does not name the
// file, where it is cut or damaged, or holds a second recording.
std::optional<int64_t> CheckContainer(const InputFile &file);

// Whether 32 bits of length say "to the end of the file". Programs that do not know it yet, and cannot seek back to it,
// write: ffmpeg 0xFFFFFFFF, sox 0x7FFFF000, arecord 0x80000000 or a little less, others 0 or these minus the header's
// size.
bool IsUnknownLength(uint64_t length);

// Whether a chunk may be named so: a walk over zeros would take each eight of them for a chunk.
bool IsChunkName(std::string_view name);

#endif  // ASCEND310_INFER_INC_CONTAINERS_H_
