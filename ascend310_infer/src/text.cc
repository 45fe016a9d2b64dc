#include "text.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iostream>

namespace {
// Bytes of the UTF-8 character at `start`, 0 where there is none.
size_t Character(const std::string &text, size_t start) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = byte(start);
  if (first < 0x80) {
    return 1;
  }
  const size_t size = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(start + i) & 0xC0) != 0x80) {
      return 0;
    }
  }
  const unsigned second = byte(start + 1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = (first == 0xED && second >= 0xA0) || (first == 0xF4 && second >= 0x90);
  return overlong || surrogate ? 0 : size;
}

// Likewise, 0 also for one that cannot be printed.
size_t Printable(const std::string &text, size_t start) {
  const auto first = static_cast<unsigned char>(text[start]);
  const size_t size = Character(text, start);
  const bool control = first < 0x20 || first == 0x7F ||
                       (size == 2 && first == 0xC2 && static_cast<unsigned char>(text[start + 1]) < 0xA0);
  return control ? 0 : size;
}
}  // namespace

bool IsUtf8(const std::string &text) {
  for (size_t i = 0; i < text.size();) {
    const size_t size = Character(text, i);
    if (size == 0) {
      return false;
    }
    i += size;
  }
  return true;
}

std::string OneLine(const std::string &text) {
  std::string line;
  for (size_t i = 0; i < text.size();) {
    const size_t size = Printable(text, i);
    if (size > 0) {
      line.append(text, i, size);
      i += size;
      continue;
    }
    char escape[8];
    std::snprintf(escape, sizeof(escape), "\\x%02x", static_cast<unsigned char>(text[i++]));
    line += escape;
  }
  return line;
}

std::string Quoted(const std::string &word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c >= 0x80 || c == '/' || c == '.' || c == '_' || c == '-';
  });
  if (plain) {
    return word;
  }
  std::string quoted = "'";
  for (const char c : word) {
    quoted += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return quoted + "'";
}

void PrintLine(const std::string &kind, const std::string &text) {
  std::cerr << kind << ": " << OneLine(text) << std::endl;
}

void PrintFailures(size_t failed, size_t all, const std::string &things) {
  if (failed > 0 && all > 1) {
    PrintLine("error",
              std::to_string(failed) + " of " + std::to_string(all) + " " + things + " not run, for the reasons above");
  }
}

void PrintDefect(const std::string &place, const std::string &what) {
  PrintLine("error", place + "a defect of this program (" + what + "); please report it with this line");
}
