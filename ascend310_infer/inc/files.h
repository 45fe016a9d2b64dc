// Files that are written.
#ifndef ASCEND310_INFER_INC_FILES_H_
#define ASCEND310_INFER_INC_FILES_H_

#include <filesystem>
#include <string>

// Throws the OutputError for a file or folder that cannot be written.
[[noreturn]] void RefuseOutput(const std::filesystem::path &path, const std::string &reason);

// Makes a folder and those above it. OutputError where that fails.
void MakeFolder(const std::filesystem::path &folder);

// Writes a file, whole or not at all. OutputError where that fails, UserError where its name is too long.
void WriteFile(const std::filesystem::path &path, const std::string &content);

// Makes a folder, and writes a file there and removes it. OutputError where that fails: known before the work.
void RequireWritable(const std::filesystem::path &folder);

#endif  // ASCEND310_INFER_INC_FILES_H_
