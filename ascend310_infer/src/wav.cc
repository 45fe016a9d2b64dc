#include "wav.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "containers.h"
#include "input_file.h"
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
  std::string other = {};  // the codec that is not read here

  size_t Width() const { return (bits + 7U) / 8; }
};

// A little-endian number.
template <typename T>
T Read(const char *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

// That in a file; 0 for what is behind its end.
template <typename T>
T Read(const InputFile &file, uint64_t offset) {
  char bytes[sizeof(T)] = {};
  file.Read(offset, sizeof(T), bytes);
  return Read<T>(bytes);
}

[[noreturn]] void RefuseFormat(const std::string &format, const std::filesystem::path &path) {
  const std::filesystem::path wav = std::filesystem::path(path).replace_extension(".pcm.wav");
  throw OtherFormat(format,
                    "convert it: ffmpeg -i " + Quoted(path.string()) + " -c:a pcm_s16le " + Quoted(wav.string()));
}

std::string Hexadecimal(uint16_t number) {
  char text[8];
  std::snprintf(text, sizeof(text), "0x%04X", static_cast<unsigned>(number));
  return text;
}

Format ReadFormat(const InputFile &file, uint64_t offset, uint64_t size) {
  if (size < 16) {
    throw UserError("its fmt chunk has " + std::to_string(size) + " bytes, expected 16 or more; copy the file again");
  }
  Format format{Read<uint16_t>(file, offset), Read<uint16_t>(file, offset + 2), Read<uint32_t>(file, offset + 4),
                Read<uint16_t>(file, offset + 14)};
  if (format.encoding == kExtensible && size >= 40 &&
      (file.Holds(offset + 26, std::string_view(kGuid, 14)) ||
       file.Holds(offset + 28, std::string_view(kAmbisonic, 12)))) {
    format.encoding = Read<uint16_t>(file, offset + 24);
  }
  const bool pcm = format.encoding == kPcm && format.bits >= 1 && format.bits <= 32;
  const bool floats = format.encoding == kFloat && (format.bits == 32 || format.bits == 64);
  const bool law = format.encoding == kALaw || format.encoding == kMuLaw;
  format.bits = law ? 8 : format.bits;
  if (!pcm && !floats && !law) {
    const auto codec = kCodecs.find(format.encoding);
    format.other = codec == kCodecs.end()
                       ? Hexadecimal(format.encoding) + " with " + std::to_string(format.bits) + " bit per sample"
                       : codec->second;
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

// Whether there are whole chunks from `offset` to the end.
bool AreChunks(const InputFile &file, uint64_t offset) {
  while (offset + 8 <= file.size() && IsChunkName(file.Read(offset, 4))) {
    offset += 8 + Read<uint32_t>(file, offset + 4) + Read<uint32_t>(file, offset + 4) % 2;
  }
  return offset == file.size() || offset == file.size() + 1;
}

// Where another wav file begins behind samples that end at `offset`, 0 for nowhere: cat has joined them.
uint64_t FindSecond(const InputFile &file, uint64_t offset) {
  for (const uint64_t place : {offset, offset + offset % 2}) {
    if ((file.Holds(place, "RIFF") || file.Holds(place, "RF64")) && file.Holds(place + 8, "WAVE")) {
      return place;
    }
  }
  return 0;
}
// Samples in [-1, 1].
float Unsigned8(const char *bytes) { return static_cast<float>(Read<uint8_t>(bytes) - 128) / 128; }
float Signed16(const char *bytes) { return static_cast<float>(Read<int16_t>(bytes)) / 32768; }
float Signed24(const char *bytes) {
  return static_cast<float>(Read<uint16_t>(bytes) + 65536 * Read<int8_t>(bytes + 2)) / 8388608;
}
float Signed32(const char *bytes) { return static_cast<float>(Read<int32_t>(bytes)) / 2147483648; }
float Float32(const char *bytes) { return Read<float>(bytes); }
float Float64(const char *bytes) { return static_cast<float>(Read<double>(bytes)); }
float MuLaw8(const char *bytes) { return static_cast<float>(MuLaw(Read<uint8_t>(bytes))); }
float ALaw8(const char *bytes) { return static_cast<float>(ALaw(Read<uint8_t>(bytes))); }

using Decoder = float (*)(const char *);

Decoder DecoderOf(const Format &format) {
  if (format.encoding == kMuLaw || format.encoding == kALaw) {
    return format.encoding == kMuLaw ? &MuLaw8 : &ALaw8;
  }
  switch (format.Width()) {
    case 1:
      return &Unsigned8;
    case 2:
      return &Signed16;
    case 3:
      return &Signed24;
    case 4:
      return format.encoding == kFloat ? &Float32 : &Signed32;
    default:
      return &Float64;
  }
}

// Where the samples of a file are, and what they are.
struct Header {
  Format format;
  uint64_t start = 0;
  uint64_t size = 0;  // bytes, of whole frames
};

Header ReadHeader(const InputFile &file, const std::filesystem::path &path) {
  const bool large = file.Holds(0, "RF64") || file.Holds(0, "BW64");
  if (!(large || file.Holds(0, "RIFF")) || !file.Holds(8, "WAVE")) {
    for (const Signature &signature : kFormats) {
      if (file.Holds(signature.offset, signature.bytes)) {
        RefuseFormat(std::string("is ") + signature.format, path);
      }
    }
    RefuseFormat("not a RIFF WAVE file", path);
  }
  Format format;
  uint64_t large_size = std::numeric_limits<uint64_t>::max();
  for (uint64_t offset = 12; offset + 8 <= file.size();) {
    const std::string id = file.Read(offset, 4);
    uint64_t size = Read<uint32_t>(file, offset + 4);
    offset += 8;
    const uint64_t there = file.size() - offset;
    if (id == std::string(4, '\0')) {
      throw UserError("damaged, at byte " + std::to_string(offset - 8) + " is no chunk of a wav; copy the file again");
    }
    if (id == "data") {
      size = large && size == std::numeric_limits<uint32_t>::max() ? large_size : size;
      const bool is_unknown = IsUnknownLength(size) || size > std::numeric_limits<uint64_t>::max() / 4;
      if (is_unknown && (size == 0 ? !AreChunks(file, offset) : size > there)) {
        size = there;
      }
    }
    const bool frames = id == "data" && format.other.empty();
    const uint64_t frame = frames ? std::max<uint64_t>(format.Width() * format.channels, 1) : 1;
    if (size / frame > there / frame) {
      throw UserError("truncated, its " + OneLine(id) + " chunk has " + std::to_string(there) + " of " +
                      std::to_string(size) + " bytes; copy the file again");
    }
    if (id == "ds64" && size >= 16) {
      large_size = Read<uint64_t>(file, offset + 8);
    } else if (id == "fmt ") {
      format = ReadFormat(file, offset, size);
    } else if (id == "data") {
      if (format.encoding == 0) {
        throw UserError("its data chunk comes before its fmt chunk; copy the file again");
      }
      size = std::min<uint64_t>(size, there);
      if (const uint64_t second = FindSecond(file, offset + size); second > 0) {
        throw UserError("holds a second recording from byte " + std::to_string(second) +
                        " on, which would be lost; join recordings with sox or ffmpeg instead of cat");
      }
      if (size < frame) {
        throw UserError("holds no samples; leave the file out");
      }
      if (!format.other.empty()) {
        RefuseFormat("its codec is " + format.other, path);
      }
      return {format, offset, size / frame * frame};
    }
    offset += size;
    // a chunk of odd size is followed by a byte that not all programs write
    offset += size % 2 == 1 && !file.Holds(offset, "data") && !file.Holds(offset, "fmt ") ? 1 : 0;
  }
  throw UserError("truncated, it has no data chunk; copy the file again");
}

class WavSource : public AudioSource {
 public:
  explicit WavSource(const std::filesystem::path &path)
      : file_(path), header_(ReadHeader(file_, path)), decode_(DecoderOf(header_.format)) {}

  int64_t rate() const override { return header_.format.rate; }
  size_t channels() const override { return header_.format.channels; }

  std::vector<float> Read(size_t count) override {
    const size_t width = header_.format.Width();
    const uint64_t wanted = std::min<uint64_t>(count * width * channels(), header_.size - place_);
    const std::string bytes = file_.Read(header_.start + place_, wanted);
    if (bytes.size() < wanted) {
      throw UserError("was cut while it was read; copy the file again");
    }
    place_ += wanted;
    std::vector<float> samples(bytes.size() / width);
    for (size_t i = 0; i < samples.size(); ++i) {
      samples[i] = decode_(bytes.data() + i * width);
    }
    return samples;
  }

  void Rewind() override { place_ = 0; }

 private:
  InputFile file_;
  Header header_;
  Decoder decode_;
  uint64_t place_ = 0;  // bytes of the samples that were read
};
}  // namespace

std::unique_ptr<AudioSource> OpenWav(const std::filesystem::path &path) { return std::make_unique<WavSource>(path); }
