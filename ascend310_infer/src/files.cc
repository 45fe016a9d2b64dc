#include "files.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "error.h"

namespace fs = std::filesystem;

void RefuseOutput(const fs::path &path, const std::string &reason) {
  throw OutputError(path.string() + ": cannot be written (" + reason +
                    "); free some space, mend the permissions or name another folder");
}

void MakeFolder(const fs::path &folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    RefuseOutput(folder, error ? error.message() : "there is a file of this name");
  }
}

void WriteFile(const fs::path &path, const std::string &content) {
  const fs::path temporary = path.parent_path() / (".saving-" + std::to_string(getpid()));
  errno = 0;
  std::ofstream file(temporary, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  const bool whole = file.good() && std::rename(temporary.c_str(), path.c_str()) == 0;
  const int reason = errno;
  if (whole) {
    return;
  }
  std::remove(temporary.c_str());
  if (reason == ENAMETOOLONG) {
    throw UserError("the names of its results are too long for " + path.parent_path().string() + "; shorten its name");
  }
  RefuseOutput(path, std::strerror(reason));
}

void RequireWritable(const fs::path &folder) {
  MakeFolder(folder);
  const fs::path probe = folder / (".probe-" + std::to_string(getpid()));
  WriteFile(probe, "x");
  fs::remove(probe);
}
