#include "input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.h"

namespace {
[[noreturn]] void Refuse(int reason) {
  throw UserError(std::string("cannot be read (") + std::strerror(reason) + "); mend its path or its permissions");
}
}  // namespace

InputFile::InputFile(const std::filesystem::path &path) {
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // the writer of a pipe is not waited for
  struct stat status{};
  if (descriptor_ < 0) {
    Refuse(errno);
  }
  const int reason = fstat(descriptor_, &status) == 0 ? 0 : errno;
  if (reason != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor_);  // no destructor follows
    if (reason != 0) {
      Refuse(reason);
    }
    throw UserError("is a folder, pipe or device, expected a file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() { close(descriptor_); }

size_t InputFile::Read(uint64_t place, size_t count, char *bytes) const {
  size_t there = 0;
  while (there < count && place + there < size_) {
    const ssize_t more = pread(descriptor_, bytes + there, count - there, static_cast<off_t>(place + there));
    if (more < 0 && errno == EINTR) {
      continue;
    }
    if (more < 0) {
      Refuse(errno);
    }
    if (more == 0) {  // another program has cut it meanwhile
      break;
    }
    there += static_cast<size_t>(more);
  }
  return there;
}

std::string InputFile::Read(uint64_t place, size_t count) const {
  std::string bytes(place < size_ ? std::min<uint64_t>(count, size_ - place) : 0, '\0');
  bytes.resize(Read(place, bytes.size(), bytes.data()));
  return bytes;
}

bool InputFile::Holds(uint64_t place, std::string_view bytes) const { return Read(place, bytes.size()) == bytes; }
