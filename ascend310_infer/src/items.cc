#include "items.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <system_error>

#include "error.h"
#include "input_file.h"
#include "recording.h"
#include "text.h"

namespace fs = std::filesystem;

namespace {
// Of audio files that utils/audio reads for Python's programs, and this program does not.
const std::set<std::string> kOtherSuffixes = {".flac", ".mp3", ".ogg",  ".opus", ".sph", ".m4a",
                                              ".mp4",  ".aac", ".webm", ".mka",  ".amr", ".3gp",
                                              ".ac3",  ".raw", ".wma",  ".aiff", ".au",  ".caf"};

std::string LowerSuffix(const fs::path &path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return suffix;
}

struct Walk {
  fs::path root;
  fs::path skipped;                                // a folder that is left out
  std::set<std::pair<dev_t, ino_t>> entered = {};  // folders
  std::vector<fs::path> files = {};                // relative to the root
  std::set<fs::path> links = {};                   // to folders, relative to the root; still to be followed
};

// Whether a link leads to a folder that it lies in, or that the root lies in.
bool LeadsUp(const fs::path &link, const fs::path &root) {
  std::error_code ignored;
  const std::string target = fs::canonical(link, ignored) / "";
  for (const fs::path &place : {link.parent_path(), root}) {
    if ((fs::canonical(place, ignored) / "").string().rfind(target, 0) == 0) {
      return true;
    }
  }
  return false;
}

// Adds the files of a folder and of those in it, and the links to folders.
void Enter(const fs::path &folder, Walk *walk) {
  const fs::path place = walk->root / folder;
  struct stat status{};
  if (stat(place.c_str(), &status) != 0 || !walk->entered.insert({status.st_dev, status.st_ino}).second ||
      (!walk->skipped.empty() && fs::exists(walk->skipped) && fs::equivalent(place, walk->skipped))) {
    return;
  }
  std::error_code error;
  fs::directory_iterator entries(place, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::error_code ignored;
    const fs::path name = folder / entries->path().filename();
    if (!entries->is_directory(ignored)) {
      walk->files.push_back(name);
    } else if (entries->is_symlink(ignored)) {
      walk->links.insert(name);
    } else {
      Enter(name, walk);
    }
  }
  if (error) {
    PrintLine("warning", place.string() + ": " + error.message() + "; what it holds is left out");
  }
}

// Paths of the files below a folder, relative to it, sorted; but for those in the folder `skipped`. Links to folders
// are followed, but each folder is entered once: first those that are below `folder` without a link.
std::vector<fs::path> FindFiles(const fs::path &folder, const fs::path &skipped) {
  Walk walk{folder, skipped};
  Enter("", &walk);
  while (!walk.links.empty()) {
    const fs::path link = *walk.links.begin();
    walk.links.erase(walk.links.begin());
    if (!LeadsUp(folder / link, folder)) {
      Enter(link, &walk);
    }
  }
  std::sort(walk.files.begin(), walk.files.end());
  return walk.files;
}

std::vector<fs::path> WithSuffix(const std::vector<fs::path> &files, const std::string &suffix) {
  std::vector<fs::path> found;
  std::copy_if(files.begin(), files.end(), std::back_inserter(found),
               [&](const fs::path &file) { return LowerSuffix(file) == suffix; });
  return found;
}

// How many files are audio of other formats, by their names, and what to do; empty where there are none.
std::string OtherFormats(const std::vector<fs::path> &files) {
  std::map<std::string, size_t> counts;
  for (const fs::path &file : files) {
    if (kOtherSuffixes.count(LowerSuffix(file)) > 0) {
      ++counts[LowerSuffix(file)];
    }
  }
  std::string list;
  for (const auto &[suffix, count] : counts) {
    list += (list.empty() ? "" : ", ") + std::to_string(count) + " " + suffix;
  }
  return list.empty() ? ""
                      : list + " left out, only .wav is read; convert them: ffmpeg -i talk" + counts.begin()->first +
                            " talk.wav";
}

std::string FolderName(size_t input) {
  char name[32];
  std::snprintf(name, sizeof(name), "%02zu_data", input);
  return name;
}

HostTensor FromWav(const fs::path &file, const Interface &interface) {
  Recording recording = Recording::Wav(file, interface.sample_rate, interface.raise_quiet);
  recording.PrintNotes();
  std::vector<float> samples = recording.Whole(interface.sample_rate);
  const auto multiple = static_cast<size_t>(interface.wav_multiple);
  samples.resize((samples.size() + multiple - 1) / multiple * multiple);
  std::string bytes(reinterpret_cast<const char *>(samples.data()), samples.size() * sizeof(float));
  return {interface.inputs[0].ShapeOf(bytes.size()), std::move(bytes), recording.gain()};
}

HostTensor FromBytes(const fs::path &path, const Port &port) {
  const InputFile file(path);
  std::string content = file.Read(0, file.size());
  std::vector<int64_t> shape = port.ShapeOf(content.size());
  return {std::move(shape), std::move(content)};
}

// UserError where two items, such as a.wav and a.WAV, would have the same results.
void CheckNames(const std::vector<Item> &items) {
  std::map<fs::path, fs::path> first;
  for (const Item &item : items) {
    const auto [place, fresh] = first.emplace(item.name, item.files[0]);
    if (!fresh) {
      throw UserError(item.files[0].string() + ": its results would be called as those of " + place->second.string() +
                      "; rename one");
    }
  }
}
}  // namespace

std::vector<Item> FindItems(const fs::path &folder, const fs::path &results, const Interface &interface) {
  if (!fs::is_directory(folder)) {
    throw UserError(folder.string() + ": no such folder; preprocess.py writes one");
  }
  std::vector<Item> items;
  const size_t inputs = interface.FileCount();
  const bool numbered = fs::is_directory(folder / FolderName(0));
  const fs::path first = numbered ? folder / FolderName(0) : folder;
  const std::vector<fs::path> files = FindFiles(first, results);
  std::string left_out;
  if (numbered || inputs == 1) {
    for (const fs::path &file : WithSuffix(files, ".bin")) {
      Item item{fs::path(file).replace_extension(), {}};
      for (size_t i = 0; i < inputs; ++i) {
        item.files.push_back(numbered ? folder / FolderName(i) / file : folder / file);
      }
      items.push_back(std::move(item));
    }
  }
  if (items.empty() && interface.TakesWaveform()) {
    left_out = OtherFormats(files);
    for (const fs::path &file : WithSuffix(files, ".wav")) {
      items.push_back({fs::path(file).replace_extension(), {first / file}});
    }
  }
  if (items.empty()) {
    throw UserError(folder.string() + ": nothing to run; expected " + FolderName(0) + "/*.bin" +
                    (inputs == 1 ? ", *.bin" : "") + (interface.TakesWaveform() ? " or *.wav" : "") +
                    (left_out.empty() ? "" : "; " + left_out));
  }
  if (!left_out.empty()) {
    PrintLine("note", folder.string() + ": " + left_out);
  }
  CheckNames(items);
  return items;
}

std::vector<HostTensor> ReadItem(const Item &item, const Interface &interface) {
  std::vector<HostTensor> tensors;
  for (const fs::path &file : item.files) {
    if (LowerSuffix(file) == ".wav") {
      tensors.push_back(FromWav(file, interface));
      continue;
    }
    try {
      tensors.push_back(FromBytes(file, interface.inputs[tensors.size()]));
    } catch (const UserError &error) {
      throw UserError(file.string() + ": " + error.what());
    }
  }
  return tensors;
}
