#include "files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace fs = std::filesystem;

namespace {
// The permissions of a new file.
mode_t NewMode() {
  static const mode_t mask = [] {
    const mode_t found = umask(0);  // which can be read in no other way
    umask(found);
    return found;
  }();
  return 0666 & ~mask;
}
}  // namespace

void RefuseOutput(const fs::path &path, const std::string &reason) {
  throw OutputError(path.string() + ": cannot be written (" + reason +
                    "); free some space, mend the permissions or name another folder");
}

void RefuseExisting(const fs::path &path) {
  throw OutputError(path.string() + ": is there already; move it away or name another --output_path");
}

int OpenTemporary(const fs::path &folder, fs::path *path) {
  std::string name = (folder / ".saving-XXXXXX").string();
  const int descriptor = mkostemp(name.data(), O_CLOEXEC);
  if (descriptor >= 0) {
    fchmod(descriptor, NewMode());  // mkostemp makes it for this user alone
    *path = name;
  }
  return descriptor;
}

std::FILE *OpenStream(int descriptor, const char *mode) {
  std::FILE *stream = descriptor < 0 ? nullptr : fdopen(descriptor, mode);
  if (descriptor >= 0 && stream == nullptr) {
    const int reason = errno;
    close(descriptor);
    errno = reason;
  }
  return stream;
}

void MakeFolder(const fs::path &folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    RefuseOutput(folder, error ? error.message() : "there is a file of this name");
  }
}

void WriteFile(const fs::path &path, const std::string &content) {
  fs::path temporary;
  const int descriptor = OpenTemporary(path.parent_path(), &temporary);
  std::FILE *file = OpenStream(descriptor, "wb");
  bool whole = file != nullptr && std::fwrite(content.data(), 1, content.size(), file) == content.size();
  whole = file != nullptr && std::fclose(file) == 0 && whole;
  if (whole && std::rename(temporary.c_str(), path.c_str()) == 0) {
    return;
  }
  const int reason = errno;
  std::remove(temporary.c_str());
  if (reason == ENAMETOOLONG) {
    throw UserError("the names of its results are too long for " + path.parent_path().string() + "; shorten its name");
  }
  RefuseOutput(path, std::strerror(reason));
}

void RequireWritable(const fs::path &folder) {
  MakeFolder(folder);
  fs::path probe;
  const int descriptor = OpenTemporary(folder, &probe);
  const bool written = descriptor >= 0 && write(descriptor, "x", 1) == 1;
  const int reason = errno;
  if (descriptor >= 0) {
    close(descriptor);
    unlink(probe.c_str());
  }
  if (!written) {
    RefuseOutput(folder, std::strerror(reason));
  }
}

FileLock::FileLock(const fs::path &path) : lock_(path.string() + ".lock") {
  for (;;) {
    descriptor_ = open(lock_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) {
      RefuseOutput(lock_, std::strerror(errno));
    }
    while (flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
    }
    struct stat own{}, there{};
    const bool known = fstat(descriptor_, &own) == 0 && stat(lock_.c_str(), &there) == 0;
    if (known && own.st_dev == there.st_dev && own.st_ino == there.st_ino) {
      return;
    }
    close(descriptor_);  // whoever held it has removed it
  }
}

FileLock::~FileLock() {
  unlink(lock_.c_str());  // before it is free: nobody can have taken it meanwhile
  close(descriptor_);
}
