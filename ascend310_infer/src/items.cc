#include "items.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "error.h"
#include "wav.h"

namespace fs = std::filesystem;

namespace {
std::string LowerSuffix(const fs::path &path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return suffix;
}

// Paths of the files with a suffix in a folder and those below it, relative to it, sorted.
std::vector<fs::path> Find(const fs::path &folder, const std::string &suffix) {
  std::vector<fs::path> found;
  for (const auto &entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && LowerSuffix(entry.path()) == suffix) {
      found.push_back(entry.path().lexically_relative(folder));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string FolderName(size_t input) {
  char name[32];
  std::snprintf(name, sizeof(name), "%02zu_data", input);
  return name;
}

std::string ReadFile(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.is_open() || file.bad()) {
    throw UserError(std::string("cannot be read (") + std::strerror(errno) + ")");
  }
  return content;
}

HostTensor FromWav(const std::string &content, const Interface &interface) {
  Wav wav = DecodeWav(content);
  if (wav.rate != interface.sample_rate) {
    throw UserError(std::to_string(wav.rate) + " Hz, but the graph takes " + std::to_string(interface.sample_rate) +
                    " Hz; resample the file");
  }
  const auto multiple = static_cast<size_t>(interface.wav_multiple);
  wav.samples.resize((wav.samples.size() + multiple - 1) / multiple * multiple);
  std::string bytes(reinterpret_cast<const char *>(wav.samples.data()), wav.samples.size() * sizeof(float));
  return {interface.inputs[0].ShapeOf(bytes.size()), std::move(bytes)};
}
}  // namespace

std::vector<Item> FindItems(const fs::path &folder, const Interface &interface) {
  if (!fs::is_directory(folder)) {
    throw UserError(folder.string() + ": no such folder; preprocess.py writes one");
  }
  std::vector<Item> items;
  const size_t inputs = interface.FileCount();
  const bool numbered = fs::is_directory(folder / FolderName(0));
  if (numbered || inputs == 1) {
    for (const fs::path &file : Find(numbered ? folder / FolderName(0) : folder, ".bin")) {
      Item item{fs::path(file).replace_extension(), {}};
      for (size_t i = 0; i < inputs; ++i) {
        item.files.push_back(numbered ? folder / FolderName(i) / file : folder / file);
      }
      items.push_back(std::move(item));
    }
  }
  if (items.empty() && interface.wav_multiple > 0) {
    for (const fs::path &file : Find(folder, ".wav")) {
      items.push_back({fs::path(file).replace_extension(), {folder / file}});
    }
  }
  if (items.empty()) {
    throw UserError(folder.string() + ": nothing to run; expected " + FolderName(0) + "/*.bin" +
                    (inputs == 1 ? ", *.bin" : "") + (interface.wav_multiple > 0 ? " or *.wav" : ""));
  }
  return items;
}

std::vector<HostTensor> ReadItem(const Item &item, const Interface &interface) {
  std::vector<HostTensor> tensors;
  for (const fs::path &file : item.files) {
    try {
      std::string content = ReadFile(file);
      if (LowerSuffix(file) == ".wav") {
        tensors.push_back(FromWav(content, interface));
      } else {
        std::vector<int64_t> shape = interface.inputs[tensors.size()].ShapeOf(content.size());
        tensors.push_back({std::move(shape), std::move(content)});
      }
    } catch (const UserError &error) {
      throw UserError(file.string() + ": " + error.what());
    }
  }
  return tensors;
}
