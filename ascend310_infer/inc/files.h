// Files that are written.
#ifndef ASCEND310_INFER_INC_FILES_H_
#define ASCEND310_INFER_INC_FILES_H_

#include <cstdio>
#include <filesystem>
#include <string>

// Throws the OutputError for a file or folder that cannot be written.
[[noreturn]] void RefuseOutput(const std::filesystem::path &path, const std::string &reason);

// Throws the OutputError for a file that is there already and cannot be had again.
[[noreturn]] void RefuseExisting(const std::filesystem::path &path);

// Makes a file in a folder that no other program has, opens it and sets `path` to it; it gets the permissions of a new
// file. Its descriptor; -1 where that fails, and errno says why.
int OpenTemporary(const std::filesystem::path &folder, std::filesystem::path *path);

// The descriptor as a stream, which closes it; nullptr for -1, and where that fails: then it is closed. errno says why.
std::FILE *OpenStream(int descriptor, const char *mode);

// Makes a folder and those above it. OutputError where that fails.
void MakeFolder(const std::filesystem::path &folder);

// Writes a file, whole or not at all. OutputError where that fails, UserError where its name is too long.
void WriteFile(const std::filesystem::path &path, const std::string &content);

// Makes a folder, and writes a file there and removes it. OutputError where that fails: known before the work.
void RequireWritable(const std::filesystem::path &folder);

// Keeps other programs that lock the file `path`, which need not be there, waiting until this one is destroyed. Another
// file, beside it, is the lock. Without effect on a file system that has none.
class FileLock {
 public:
  // OutputError where the file beside it cannot be made.
  explicit FileLock(const std::filesystem::path &path);
  ~FileLock();
  FileLock(const FileLock &) = delete;
  FileLock &operator=(const FileLock &) = delete;

 private:
  std::filesystem::path lock_;
  int descriptor_ = -1;
};

#endif  // ASCEND310_INFER_INC_FILES_H_
