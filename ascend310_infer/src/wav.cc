#include "wav.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"

namespace {
enum Encoding : uint16_t { kPcm = 1, kFloat = 3, kExtensible = 0xFFFE };

struct Format {
  uint16_t encoding = 0;
  uint16_t channels = 0;
  uint32_t rate = 0;
  uint16_t bits = 0;
};

// A little-endian number at `offset`; the caller has checked the size.
template <typename T>
T Read(const std::string &content, size_t offset) {
  T value;
  std::memcpy(&value, content.data() + offset, sizeof(T));
  return value;
}

// A chunk's name, fit to be printed.
std::string ReadName(const std::string &content, size_t offset) {
  std::string name = content.substr(offset, 4);
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return name;
}

Format ReadFormat(const std::string &content, size_t offset, size_t size) {
  if (size < 16) {
    throw UserError("its fmt chunk has " + std::to_string(size) + " bytes, expected 16 or more");
  }
  Format format{Read<uint16_t>(content, offset), Read<uint16_t>(content, offset + 2),
                Read<uint32_t>(content, offset + 4), Read<uint16_t>(content, offset + 14)};
  if (format.encoding == kExtensible && size >= 26) {
    format.encoding = Read<uint16_t>(content, offset + 24);
  }
  const bool known = format.encoding == kPcm
                         ? format.bits == 8 || format.bits == 16 || format.bits == 24 || format.bits == 32
                         : format.encoding == kFloat && (format.bits == 32 || format.bits == 64);
  if (!known || format.channels == 0 || format.rate == 0) {
    throw UserError("encoding " + std::to_string(format.encoding) + " of " + std::to_string(format.bits) + " bit, " +
                    std::to_string(format.channels) + " channels, " + std::to_string(format.rate) +
                    " Hz; expected PCM of 8 to 32 bit or float");
  }
  return format;
}

double Sample(const std::string &content, size_t offset, const Format &format) {
  switch (format.bits) {
    case 8:
      return (Read<uint8_t>(content, offset) - 128) / 128.0;
    case 16:
      return Read<int16_t>(content, offset) / 32768.0;
    case 24:
      return (Read<uint16_t>(content, offset) + 65536 * Read<int8_t>(content, offset + 2)) / 8388608.0;
    case 32:
      return format.encoding == kFloat ? Read<float>(content, offset) : Read<int32_t>(content, offset) / 2147483648.0;
    default:
      return Read<double>(content, offset);
  }
}

Wav Decode(const std::string &content, size_t offset, size_t size, const Format &format) {
  const size_t width = format.bits / 8;
  const size_t count = size / (width * format.channels);
  Wav wav{std::vector<float>(count), format.rate};
  for (size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (size_t channel = 0; channel < format.channels; ++channel) {
      sum += Sample(content, offset + (i * format.channels + channel) * width, format);
    }
    wav.samples[i] = static_cast<float>(sum / format.channels);
    if (!std::isfinite(wav.samples[i])) {
      throw UserError("samples that are NaN or infinite");
    }
  }
  if (count == 0) {
    throw UserError("holds no samples");
  }
  return wav;
}
}  // namespace

Wav DecodeWav(const std::string &content) {
  if (content.size() < 12 || content.compare(0, 4, "RIFF") != 0 || content.compare(8, 4, "WAVE") != 0) {
    throw UserError("not a RIFF WAVE file; convert it");
  }
  Format format;
  for (size_t offset = 12; offset + 8 <= content.size();) {
    const std::string id = ReadName(content, offset);
    const size_t size = Read<uint32_t>(content, offset + 4);
    offset += 8;
    const size_t there = content.size() - offset;
    if (size > there) {
      throw UserError("truncated, its " + id + " chunk has " + std::to_string(there) + " of " + std::to_string(size) +
                      " bytes");
    }
    if (id == "fmt ") {
      format = ReadFormat(content, offset, size);
    } else if (id == "data") {
      if (format.encoding == 0) {
        throw UserError("its data chunk comes before its fmt chunk");
      }
      return Decode(content, offset, size, format);
    }
    offset += size + size % 2;
  }
  throw UserError("truncated, it has no data chunk");
}
