#include "containers.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <regex>
#include <string>
#include <string_view>

#include "error.h"

namespace {
constexpr uint64_t kWindow = 1U << 20;     // bytes of a long file that are looked at together
constexpr uint64_t kZeros = 1U << 16;      // bytes at the end of an MP3; more are what a download has not filled
constexpr size_t kOggHeader = 27;          // bytes of a page before its table
constexpr uint64_t kUnknown = 0x7F000000;  // what AIFFs have for a length that their writer did not know, and more
constexpr std::string_view kW64("\xF3\xAC\xD3\x11\x8C\xD1\x00\xC0\x4F\x8E\xDB\x8A", 12);  // the end of all its names

// kbit/s of the layers of MPEG audio, [version 1 or later][layer - 1][number - 1]
constexpr int kBitRates[2][3][14] = {{{32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
                                      {32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
                                      {32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}},
                                     {{32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
                                      {8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
                                      {8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}}};
constexpr int kSampleRates[] = {44100, 48000, 32000};

// The byte at `place`, 0 behind the end.
uint8_t Byte(std::string_view bytes, size_t place) {
  return place < bytes.size() ? static_cast<uint8_t>(bytes[place]) : 0;
}

uint64_t BigEndian(std::string_view bytes, size_t place, size_t count) {
  uint64_t number = 0;
  for (size_t i = 0; i < count; ++i) {
    number = number << 8 | Byte(bytes, place + i);
  }
  return number;
}

uint64_t LittleEndian(std::string_view bytes, size_t place, size_t count) {
  uint64_t number = 0;
  for (size_t i = count; i > 0; --i) {
    number = number << 8 | Byte(bytes, place + i - 1);
  }
  return number;
}

bool StartsWith(std::string_view bytes, std::string_view start) { return bytes.substr(0, start.size()) == start; }

[[noreturn]] void RefuseCut(const std::string &name, uint64_t there, uint64_t promised) {
  throw UserError("truncated, its " + name + " has " + std::to_string(there) + " of " + std::to_string(promised) +
                  " bytes; copy the file again");
}

[[noreturn]] void RefuseSecond(uint64_t place) {
  throw UserError("holds a second recording from byte " + std::to_string(place) +
                  " on, which would be lost; join recordings with sox or ffmpeg instead of cat");
}

[[noreturn]] void RefuseDamage(uint64_t place, const std::string &expected) {
  throw UserError("damaged, byte " + std::to_string(place) + " is not the start of " + expected +
                  "; copy the file again");
}

// Refuses data of `size` bytes from `start` on that are not all there, or that another file follows.
void CheckData(const InputFile &file, uint64_t start, uint64_t size, const std::string &name,
               const std::string &beginning) {
  const uint64_t there = file.size() - std::min(start, file.size());
  if (size > there) {
    RefuseCut(name, there, size);
  }
  if (file.Holds(start + size, beginning)) {
    RefuseSecond(start + size);
  }
}

void CheckFlac(const InputFile &file) {  // libsndfile knows whether it is whole
  const std::string beginning("fLaC\0\0\0\x22", 8);
  for (uint64_t place = 1; place < file.size(); place += kWindow) {
    const size_t second = file.Read(place, kWindow + beginning.size()).find(beginning);
    if (second != std::string::npos) {
      RefuseSecond(place + second);
    }
  }
}

// A walk from page to page: streams has the number of the last page of each, as long as its end is to come.
void CheckOgg(const InputFile &file) {
  std::map<uint64_t, uint64_t> streams;
  for (uint64_t place = 0; place < file.size();) {
    const std::string page = file.Read(place, kOggHeader + 255);
    if (!StartsWith(page, "OggS")) {
      if (StartsWith(page, "TAG") || page.find_first_not_of('\0') == std::string::npos) {
        break;
      }
      RefuseDamage(place, "an Ogg page");
    }
    const size_t table = Byte(page, kOggHeader - 1);
    if (page.size() < kOggHeader + table) {
      RefuseCut("last page", page.size(), kOggHeader + 255);
    }
    uint64_t length = kOggHeader + table;
    for (size_t i = 0; i < table; ++i) {
      length += Byte(page, kOggHeader + i);
    }
    const unsigned flags = Byte(page, 5);
    const uint64_t serial = LittleEndian(page, 14, 4);
    const uint64_t number = LittleEndian(page, 18, 4);
    if (length > file.size() - place) {
      RefuseCut("last page", file.size() - place, length);
    }
    if ((flags & 2U) != 0 && place > 0 && streams.empty()) {
      RefuseSecond(place);
    }
    const auto stream = streams.find(serial);
    if ((flags & 2U) == 0 && stream != streams.end() && number > stream->second + 1) {
      throw UserError("damaged, " + std::to_string(number - stream->second - 1) + " pages are missing before byte " +
                      std::to_string(place) + "; copy the file again");
    }
    if ((flags & 4U) != 0) {
      streams.erase(serial);
    } else {
      streams[serial] = number;
    }
    place += length;
  }
  if (!streams.empty()) {
    throw UserError("truncated, its last page is missing; copy the file again");
  }
}

void CheckW64(const InputFile &file) {
  for (uint64_t place = 40; place + 24 <= file.size();) {
    const std::string chunk = file.Read(place, 24);
    const uint64_t length = LittleEndian(chunk, 16, 8);
    const uint64_t padded = length + (8 - length % 8) % 8;
    if (chunk.substr(4, 12) != kW64 || length > uint64_t{1} << 62U) {
      return;
    }
    if (StartsWith(chunk, "data")) {
      return length > 24 ? CheckData(file, place, padded > file.size() - place ? length : padded, "data chunk", "riff")
                         : void();
    }
    place += std::max<uint64_t>(24, padded);
  }
}

void CheckAiff(const InputFile &file) {  // and 8SVX
  for (uint64_t place = 12; place + 8 <= file.size();) {
    const std::string chunk = file.Read(place, 8);
    const uint64_t length = BigEndian(chunk, 4, 4);
    if (StartsWith(chunk, "FORM")) {
      RefuseSecond(place);
    }
    place += 8;
    if (StartsWith(chunk, "SSND") || StartsWith(chunk, "BODY")) {
      if (length <= 8 || length >= kUnknown) {
        return;
      }
      CheckData(file, place, length, "sound chunk", "FORM");
    }
    if (!IsChunkName(chunk.substr(0, 4))) {
      return;
    }
    place += length + length % 2;
  }
}

void CheckAu(const InputFile &file) {
  const std::string head = file.Read(0, 12);
  const uint64_t length = BigEndian(head, 8, 4);
  if (!IsUnknownLength(length)) {
    CheckData(file, BigEndian(head, 4, 4), length, "data", ".snd");
  }
}

void CheckCaf(const InputFile &file) {
  for (uint64_t place = 8; place + 12 <= file.size();) {
    const std::string chunk = file.Read(place, 12);
    const uint64_t length = BigEndian(chunk, 4, 8);
    if (StartsWith(chunk, "caff")) {
      RefuseSecond(place);
    }
    if (!IsChunkName(chunk.substr(0, 4))) {
      RefuseDamage(place, "a CAF chunk");
    }
    place += 12;
    if (length >> 63U != 0) {  // -1: to the end
      return;
    }
    if (length > file.size() - place) {
      RefuseCut("chunk", file.size() - place, length);
    }
    place += length;
  }
}

void CheckSphere(const InputFile &file) {
  const std::string text = file.Read(0, 1024);
  const auto number = [&](const std::string &pattern, uint64_t otherwise) {
    std::smatch match;
    return std::regex_search(text, match, std::regex(pattern)) ? std::stoull(match[1]) : otherwise;
  };
  const uint64_t start = number("^NIST_1A\\s+(\\d{1,9})", 0);
  const uint64_t samples = number("\nsample_count -\\w+ (\\d{1,12})", 0);
  const uint64_t width = number("\nsample_n_bytes -\\w+ (\\d{1,2})", 0);
  const uint64_t channels = number("\nchannel_count -\\w+ (\\d{1,4})", 1);
  const bool compressed = std::regex_search(text, std::regex("\nsample_coding -s\\d+ [^\n]*,"));
  if (start > 0 && samples > 0 && width > 0 && !compressed) {
    CheckData(file, start, samples * width * channels, "data", "NIST_1A");
  }
}

// Bytes of the frame of MPEG audio that begins with `head`; 0 for what is none, or tells no bit rate.
uint64_t FrameLength(std::string_view head) {
  const unsigned second = Byte(head, 1);
  const unsigned third = Byte(head, 2);
  const unsigned version = second >> 3U & 3U;  // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
  const unsigned layer = 4 - (second >> 1U & 3U);
  const unsigned rate = third >> 4U;
  if (head.size() < 4 || Byte(head, 0) != 0xFF || second >> 5U != 7 || version == 1 || layer == 4 || rate == 0 ||
      rate == 15 || (third >> 2U & 3U) == 3) {
    return 0;
  }
  const int hertz = kSampleRates[third >> 2U & 3U] >> (version > 0 ? 3 - version : 2U);
  const int bits = 1000 * kBitRates[version == 3 ? 0 : 1][layer - 1][rate - 1];
  const int padding = third >> 1U & 1U;
  const int length =
      layer == 1 ? (12 * bits / hertz + padding) * 4 : (layer == 3 && version != 3 ? 72 : 144) * bits / hertz + padding;
  return static_cast<uint64_t>(length);
}

// Where the Xing tag of a frame is, which counts its recording; 0 for a frame of sound.
size_t FindXing(std::string_view frame) {
  const bool mono = Byte(frame, 3) >> 6U == 3;
  const bool first = (Byte(frame, 1) >> 3U & 3U) == 3;
  const size_t tag = 4 + (first ? (mono ? 17 : 32) : (mono ? 9 : 17)) + ((Byte(frame, 1) & 1U) != 0 ? 0 : 2);
  const std::string_view name = frame.size() >= tag + 16 ? frame.substr(tag, 4) : "";
  return name == "Xing" || name == "Info" ? tag : 0;
}

// The first byte from `place` on that is of no tag (ID3, APE, Lyrics3) and not zero.
uint64_t SkipTags(const InputFile &file, uint64_t place) {
  while (place < file.size()) {
    const std::string head = file.Read(place, 32);
    if (StartsWith(head, "ID3") && head.size() >= 10) {
      uint64_t length = 0;
      for (size_t i = 6; i < 10; ++i) {
        length = length << 7U | (Byte(head, i) & 127U);
      }
      place += 10 + length + ((Byte(head, 5) & 16U) != 0 ? 10 : 0);
    } else if (StartsWith(head, "TAG")) {
      place += 128;
    } else if (StartsWith(head, "APETAGEX") && head.size() == 32) {
      place += LittleEndian(head, 12, 4) + ((Byte(head, 23) & 32U) != 0 ? 32 : 0);
    } else if (StartsWith(head, "LYRICSBEGIN")) {
      const size_t end = file.Read(place, kWindow).find("LYRICS200");
      if (end == std::string::npos) {
        return place;
      }
      place += end + 9;
    } else if (head[0] == '\0') {
      const std::string window = file.Read(place, kWindow);
      place += std::min(window.find_first_not_of('\0'), window.size());
    } else {
      return place;
    }
  }
  return place;
}

// Whether two frames, one after the other, are near.
bool DoFramesFollow(const InputFile &file, uint64_t place) {
  const std::string window = file.Read(place, kWindow);
  const std::string_view view = window;
  for (size_t start = window.find('\xFF'); start != std::string::npos; start = window.find('\xFF', start + 1)) {
    const uint64_t length = FrameLength(view.substr(start));
    if (length > 0 && start + length < view.size() && FrameLength(view.substr(start + length)) > 0) {
      return true;
    }
  }
  return false;
}

int64_t FrameSamples(std::string_view head) {
  const unsigned layer = 4 - (Byte(head, 1) >> 1U & 3U);
  return layer == 1 ? 384 : layer == 3 && (Byte(head, 1) >> 3U & 3U) != 3 ? 576 : 1152;
}

// A walk from frame to frame, which counts their samples. Tags between them, or a frame that counts from its own place,
// part recordings.
int64_t CountSamples(const InputFile &file, uint64_t start) {
  int64_t samples = 0;
  for (uint64_t place = start;;) {
    const std::string frame = file.Read(place, 64);
    const uint64_t length = FrameLength(frame);
    if (length > 0) {
      if (place > start && FindXing(frame) > 0) {
        RefuseSecond(place);
      }
      if (length > file.size() - place) {
        RefuseCut("last frame", file.size() - place, length);
      }
      samples += FrameSamples(frame);
      place += length;
      continue;
    }
    const uint64_t following = SkipTags(file, place);
    if (following + 4 > file.size()) {
      if (file.Holds(following, "\xFF")) {
        RefuseCut("last frame", file.size() - following, 4);
      }
      if (file.size() > place + kZeros && file.Read(place, kZeros).find_first_not_of('\0') == std::string::npos) {
        RefuseCut("sound", place, file.size());
      }
      return samples;
    }
    if (following > place) {
      RefuseSecond(following);
    }
    if (DoFramesFollow(file, place)) {
      RefuseDamage(place, "an MP3 frame");
    }
    return samples;
  }
}

std::optional<int64_t> CheckMp3(const InputFile &file) {
  const uint64_t place = SkipTags(file, 0);
  const std::string frame = file.Read(place, 64);
  if (FrameLength(frame) == 0) {
    return std::nullopt;
  }
  const size_t tag = FindXing(frame);
  if (tag > 0 && (BigEndian(frame, tag + 4, 4) & 3U) == 3) {
    const uint64_t count = BigEndian(frame, tag + 12, 4);
    if (count > file.size() - place) {
      RefuseCut("Xing tag's audio", file.size() - place, count);
    }
    if (SkipTags(file, place + count) >= file.size()) {
      return 0;
    }
  }
  return CountSamples(file, place);
}
}  // namespace

bool IsUnknownLength(uint64_t length) {
  return length == 0 || (length >= 0x7FFFF000 && length <= 0x80000000) ||
         (length >= 0xFFFFF000 && length <= 0xFFFFFFFF);
}

bool IsChunkName(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](unsigned char letter) { return letter >= 32 && letter < 127; });
}

std::optional<int64_t> CheckContainer(const InputFile &file) {
  static const std::map<std::string, void (*)(const InputFile &)> checks = {
      {"fLaC", &CheckFlac}, {"OggS", &CheckOgg}, {"FORM", &CheckAiff},  {".snd", &CheckAu},
      {"caff", &CheckCaf},  {"riff", &CheckW64}, {"NIST", &CheckSphere}};
  const auto check = checks.find(file.Read(0, 4));
  if (check == checks.end()) {
    return CheckMp3(file);
  }
  check->second(file);
  return 0;
}
