// A file whose bytes are read where they are wanted: hours of sound need no memory.
#ifndef ASCEND310_INFER_INC_INPUT_FILE_H_
#define ASCEND310_INFER_INC_INPUT_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

class InputFile {
 public:
  // UserError, which does not name the file, where it is none or not readable.
  explicit InputFile(const std::filesystem::path &path);
  ~InputFile();
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  uint64_t size() const { return size_; }
  int descriptor() const { return descriptor_; }

  // Up to `count` bytes from `place` on; fewer only at the end. UserError where the disk fails.
  size_t Read(uint64_t place, size_t count, char *bytes) const;
  std::string Read(uint64_t place, size_t count) const;

  // Whether these bytes stand at `place`.
  bool Holds(uint64_t place, std::string_view bytes) const;

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

#endif  // ASCEND310_INFER_INC_INPUT_FILE_H_
