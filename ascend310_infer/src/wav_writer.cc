#include "wav_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "files.h"

namespace {
constexpr uint64_t kWidth = sizeof(int16_t);
constexpr uint64_t kHeader = 80;  // bytes: RIFF, room for the sizes of an RF64, fmt and the head of data

template <typename T>
void Append(std::string *bytes, T value) {  // the machines it runs on are little-endian, as the files
  bytes->append(reinterpret_cast<const char *>(&value), sizeof(value));
}
}  // namespace

std::string WavHeader(int64_t rate, uint64_t frames) {
  constexpr uint32_t kElsewhere = std::numeric_limits<uint32_t>::max();
  const uint64_t size = frames * kWidth;
  const bool large = size + kHeader > kElsewhere;
  std::string header = large ? "RF64" : "RIFF";
  Append(&header, large ? kElsewhere : static_cast<uint32_t>(size + kHeader - 8));
  header += large ? "WAVEds64" : "WAVEJUNK";
  Append<uint32_t>(&header, 28);
  Append<uint64_t>(&header, large ? size + kHeader - 8 : 0);
  Append<uint64_t>(&header, large ? size : 0);
  Append<uint64_t>(&header, large ? frames : 0);
  Append<uint32_t>(&header, 0);
  header += "fmt ";
  Append<uint32_t>(&header, 16);
  Append<uint16_t>(&header, 1);  // PCM
  Append<uint16_t>(&header, 1);  // channel
  Append(&header, static_cast<uint32_t>(rate));
  Append(&header, static_cast<uint32_t>(rate * kWidth));
  Append<uint16_t>(&header, kWidth);
  Append<uint16_t>(&header, 8 * kWidth);
  header += "data";
  Append(&header, large ? kElsewhere : static_cast<uint32_t>(size));
  return header;
}

WavWriter::WavWriter(const std::filesystem::path &path, int64_t rate, Mode mode) : path_(path), rate_(rate) {
  descriptor_ = mode == Mode::kWhole ? OpenTemporary(path.parent_path(), &temporary_)
                                     : open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0 && errno == EEXIST) {
    RefuseExisting(path);
  }
  if (descriptor_ < 0) {
    Refuse(errno);
  }
  PutHeader();
}

WavWriter::WavWriter(WavWriter &&other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      rate_(other.rate_),
      descriptor_(other.descriptor_),
      frames_(other.frames_) {
  other.temporary_.clear();
  other.descriptor_ = -1;
}

WavWriter::~WavWriter() { Discard(); }

void WavWriter::Discard() noexcept {
  if (!temporary_.empty()) {
    unlink(temporary_.c_str());
  } else if (descriptor_ >= 0 && frames_ == 0) {
    unlink(path_.c_str());
  }
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
  descriptor_ = -1;
  temporary_.clear();
}

void WavWriter::Refuse(int reason) {
  Discard();
  RefuseOutput(path_, std::strerror(reason));
}

void WavWriter::Put(const std::string &bytes, int64_t place) {
  for (size_t put = 0; put < bytes.size();) {
    const ssize_t more = pwrite(descriptor_, bytes.data() + put, bytes.size() - put, place + static_cast<off_t>(put));
    if (more < 0 && errno != EINTR) {
      Refuse(errno);
    }
    put += static_cast<size_t>(std::max<ssize_t>(more, 0));
  }
}

void WavWriter::PutHeader() { Put(WavHeader(rate_, frames_), 0); }

void WavWriter::Write(const std::vector<float> &samples) {
  std::string bytes(samples.size() * kWidth, '\0');
  for (size_t i = 0; i < samples.size(); ++i) {
    const float scaled = std::floor(samples[i] * 32768);
    const auto value = static_cast<int16_t>(scaled > -32768 ? std::min(scaled, 32767.0F) : -32768.0F);  // NaN: -32768
    std::memcpy(bytes.data() + i * kWidth, &value, kWidth);
  }
  Put(bytes, static_cast<int64_t>(kHeader + frames_ * kWidth));
  frames_ += samples.size();
  if (temporary_.empty()) {
    PutHeader();
  }
}

void WavWriter::Close() {
  PutHeader();
  if (!temporary_.empty() && std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    Refuse(errno);
  }
  temporary_.clear();
  close(descriptor_);
  descriptor_ = -1;
}
