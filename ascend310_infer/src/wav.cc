#include "wav.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "error.h"
#include "text.h"

namespace {
enum Encoding : uint16_t { kPcm = 1, kFloat = 3, kALaw = 6, kMuLaw = 7, kExtensible = 0xFFFE };

const std::map<uint16_t, const char *> kCodecs = {{0x0002, "Microsoft ADPCM"},
                                                  {0x0011, "IMA ADPCM"},
                                                  {0x0014, "G.723"},
                                                  {0x0022, "TrueSpeech"},
                                                  {0x0031, "GSM 6.10"},
                                                  {0x0040, "G.721"},
                                                  {0x0045, "G.726"},
                                                  {0x0050, "MP2"},
                                                  {0x0055, "MP3"},
                                                  {0x0064, "G.726"},
                                                  {0x00FF, "AAC"},
                                                  {0x0161, "WMA"},
                                                  {0x2000, "AC-3"},
                                                  {0xF1AC, "FLAC"}};

// What follows the encoding in an extensible header, and in one of ambisonic sound
constexpr char kGuid[] = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71";
constexpr char kAmbisonic[] = "\x21\x07\xD3\x11\x86\x44\xC8\xC1\xCA\x00\x00\x00";
constexpr uint16_t kMaxChannels = 1024;  // of libsndfile, too

struct Signature {
  size_t offset;
  std::string bytes;
  const char *format;
};

const std::vector<Signature> kFormats = {{0, "fLaC", "FLAC"},
                                         {0, "OggS", "Ogg"},
                                         {0, "ID3", "MP3"},
                                         {4, "ftyp", "MP4 (m4a)"},
                                         {0, "\x1A\x45\xDF\xA3", "Matroska (webm, mka)"},
                                         {0, "#!AMR", "AMR"},
                                         {0, "NIST_1A", "NIST SPHERE"},
                                         {0, "FORM", "AIFF"},
                                         {0, ".snd", "AU"},
                                         {0, "caff", "CAF"},
                                         {0, "RIFX", "big-endian RIFF"},
                                         {0, "riff", "Wave64"},
                                         {0, std::string("\x0B\x77"), "AC-3"},
                                         {0, "\xFF\xF1", "AAC"},
                                         {0, "\xFF\xF9", "AAC"},
                                         {0, "\xFF\xFB", "MP3"},
                                         {0, "\xFF\xFA", "MP3"},
                                         {0, "\xFF\xF3", "MP3"},
                                         {0, "\xFF\xF2", "MP3"}};

struct Format {
  uint16_t encoding = 0;
  uint16_t channels = 0;
  uint32_t rate = 0;
  uint16_t bits = 0;

  size_t Width() const { return (bits + 7U) / 8; }
};

// A little-endian number at `offset`; the caller has checked the size.
template <typename T>
T Read(std::string_view content, size_t offset) {
  T value;
  std::memcpy(&value, content.data() + offset, sizeof(T));
  return value;
}

bool Holds(std::string_view content, size_t offset, std::string_view bytes) {
  return offset <= content.size() && content.substr(offset, bytes.size()) == bytes;
}

[[noreturn]] void RefuseFormat(const std::string &format, const std::filesystem::path &path) {
  const std::filesystem::path wav = std::filesystem::path(path).replace_extension(".pcm.wav");
  throw UserError(format + ", expected a wav file of PCM, float, A-law or mu-law; convert it: ffmpeg -i " +
                  Quoted(path.string()) + " -c:a pcm_s16le " + Quoted(wav.string()));
}

std::string Hexadecimal(uint16_t number) {
  char text[8];
  std::snprintf(text, sizeof(text), "0x%04X", static_cast<unsigned>(number));
  return text;
}

Format ReadFormat(std::string_view content, size_t offset, size_t size, const std::filesystem::path &path) {
  if (size < 16) {
    throw UserError("its fmt chunk has " + std::to_string(size) + " bytes, expected 16 or more");
  }
  Format format{Read<uint16_t>(content, offset), Read<uint16_t>(content, offset + 2),
                Read<uint32_t>(content, offset + 4), Read<uint16_t>(content, offset + 14)};
  if (format.encoding == kExtensible && size >= 40 &&
      (Holds(content, offset + 26, std::string_view(kGuid, 14)) ||
       Holds(content, offset + 28, std::string_view(kAmbisonic, 12)))) {
    format.encoding = Read<uint16_t>(content, offset + 24);
  }
  const bool pcm = format.encoding == kPcm && format.bits >= 1 && format.bits <= 32;
  const bool floats = format.encoding == kFloat && (format.bits == 32 || format.bits == 64);
  const bool law = format.encoding == kALaw || format.encoding == kMuLaw;
  format.bits = law ? 8 : format.bits;
  if (!pcm && !floats && !law) {
    const auto codec = kCodecs.find(format.encoding);
    RefuseFormat("its codec is " + (codec == kCodecs.end() ? Hexadecimal(format.encoding) + " with " +
                                                                 std::to_string(format.bits) + " bit per sample"
                                                           : codec->second),
                 path);
  }
  if (format.channels == 0 || format.channels > kMaxChannels || format.rate == 0) {
    throw UserError("its header says " + std::to_string(format.channels) + " channels and " +
                    std::to_string(format.rate) + " Hz, expected 1 to " + std::to_string(kMaxChannels) +
                    " channels and a rate; record or convert it again");
  }
  return format;
}

// ITU-T G.711.
double MuLaw(uint8_t code) {
  const int inverted = ~code & 0xFF;
  const int magnitude = (((inverted & 0x0F) << 3) + 0x84) << ((inverted & 0x70) >> 4);
  return ((inverted & 0x80) != 0 ? 0x84 - magnitude : magnitude - 0x84) / 32768.0;
}

double ALaw(uint8_t code) {
  const int toggled = code ^ 0x55;
  const int exponent = (toggled & 0x70) >> 4;
  const int mantissa = ((toggled & 0x0F) << 4) + 8;
  const int magnitude = exponent == 0 ? mantissa : (mantissa + 0x100) << (exponent - 1);
  return ((toggled & 0x80) != 0 ? magnitude : -magnitude) / 32768.0;
}

// What programs write that do not know the length yet, and cannot seek back to it: ffmpeg 0xFFFFFFFF, sox 0x7FFFF000,
// arecord 0x80000000 or a little less, others these minus the header's size. As utils/audio/containers.py.
bool IsUnknown(uint64_t size) {
  return (size >= 0x7FFFF000 && size <= 0x80000000) || (size >= 0xFFFFF000 && size <= 0xFFFFFFFF) ||
         size > std::numeric_limits<uint64_t>::max() / 4;
}

// Whether there are whole chunks from `offset` to the end.
bool AreChunks(std::string_view content, size_t offset) {
  while (offset + 8 <= content.size()) {
    offset += 8 + Read<uint32_t>(content, offset + 4) + Read<uint32_t>(content, offset + 4) % 2;
  }
  return offset == content.size() || offset == content.size() + 1;
}

// Where another wav file begins behind samples that end at `offset`, 0 for nowhere: cat has joined them.
size_t FindSecond(std::string_view content, size_t offset) {
  for (const size_t place : {offset, offset + offset % 2}) {
    if ((Holds(content, place, "RIFF") || Holds(content, place, "RF64")) && Holds(content, place + 8, "WAVE")) {
      return place;
    }
  }
  return 0;
}
}  // namespace

double Wav::At(size_t place, size_t channel) const {
  const size_t offset = (place * channels + channel) * width;
  if (encoding == kMuLaw) {
    return MuLaw(Read<uint8_t>(data, offset));
  }
  if (encoding == kALaw) {
    return ALaw(Read<uint8_t>(data, offset));
  }
  switch (width) {
    case 1:
      return (Read<uint8_t>(data, offset) - 128) / 128.0;
    case 2:
      return Read<int16_t>(data, offset) / 32768.0;
    case 3:
      return (Read<uint16_t>(data, offset) + 65536 * Read<int8_t>(data, offset + 2)) / 8388608.0;
    case 4:
      return encoding == kFloat ? Read<float>(data, offset) : Read<int32_t>(data, offset) / 2147483648.0;
    default:
      return Read<double>(data, offset);
  }
}

Wav ReadWav(std::string_view content, const std::filesystem::path &path) {
  const bool large = Holds(content, 0, "RF64") || Holds(content, 0, "BW64");
  if (!(large || Holds(content, 0, "RIFF")) || !Holds(content, 8, "WAVE")) {
    for (const Signature &signature : kFormats) {
      if (Holds(content, signature.offset, signature.bytes)) {
        RefuseFormat(std::string("is ") + signature.format, path);
      }
    }
    throw UserError("not a RIFF WAVE file; convert it");
  }
  Format format;
  uint64_t large_size = std::numeric_limits<uint64_t>::max();
  for (size_t offset = 12; offset + 8 <= content.size();) {
    const std::string id(content.substr(offset, 4));
    uint64_t size = Read<uint32_t>(content, offset + 4);
    offset += 8;
    const size_t there = content.size() - offset;
    if (id == "data") {
      size = large && size == std::numeric_limits<uint32_t>::max() ? large_size : size;
      if (IsUnknown(size) ? size > there : size == 0 && !AreChunks(content, offset)) {
        size = there;
      }
    }
    const size_t frame = id == "data" ? std::max<size_t>(format.Width() * format.channels, 1) : 1;
    if (size / frame > there / frame) {
      throw UserError("truncated, its " + OneLine(id) + " chunk has " + std::to_string(there) + " of " +
                      std::to_string(size) + " bytes; copy the file again");
    }
    if (id == "ds64" && size >= 16) {
      large_size = Read<uint64_t>(content, offset + 8);
    } else if (id == "fmt ") {
      format = ReadFormat(content, offset, size, path);
    } else if (id == "data") {
      if (format.encoding == 0) {
        throw UserError("its data chunk comes before its fmt chunk");
      }
      size = std::min<uint64_t>(size, there);
      if (const size_t second = FindSecond(content, offset + size); second > 0) {
        throw UserError("holds a second recording from byte " + std::to_string(second) +
                        " on, which would be lost; join recordings with sox or ffmpeg instead of cat");
      }
      if (size < frame) {
        throw UserError("holds no samples; leave the file out");
      }
      return {content.substr(offset, size / frame * frame), format.rate, format.channels, format.Width(),
              format.encoding};
    }
    offset += size;
    // a chunk of odd size is followed by a byte that not all programs write
    offset += size % 2 == 1 && !Holds(content, offset, "data") && !Holds(content, offset, "fmt ") ? 1 : 0;
  }
  throw UserError("truncated, it has no data chunk; copy the file again");
}
