#include "alphabet.h"

#include <algorithm>
#include <array>
#include <utility>

#include "error.h"

namespace {
// What Python takes for whitespace.
bool IsSpace(const std::string &character) {
  static const std::array<const char *, 29> kSpaces = {
      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",   "\x1d",   "\x1e",   "\x1f",   " ",
      "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
      "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  for (const char *space : kSpaces) {
    if (character == space) {
      return true;
    }
  }
  return false;
}
}  // namespace

Alphabet::Alphabet(std::vector<std::string> labels, int64_t blank, bool spaced)
    : characters_(std::move(labels)), blank_(static_cast<int>(blank)), spaced_(spaced) {
  for (size_t i = 0; i < characters_.size(); ++i) {
    numbers_[characters_[i]] = static_cast<int>(i);
  }
  if (Size() < 2 || numbers_.size() < Size() || blank < 0 || blank >= static_cast<int64_t>(Size())) {
    throw UserError("labels: found " + std::to_string(Size()) + " characters, " + std::to_string(numbers_.size()) +
                    " of them different, and number " + std::to_string(blank) +
                    " as the blank, expected the blank and each character once; export the graph again");
  }
  numbers_.erase(characters_[static_cast<size_t>(blank)]);
}

std::string Alphabet::Decode(const Labels &labels) const {
  std::string text;
  for (const int label : labels) {
    text += characters_.at(static_cast<size_t>(label));
  }
  return text;
}

bool Alphabet::Spells(const std::string &text) const {
  const std::vector<std::string> characters = Characters(text);
  return std::all_of(characters.begin(), characters.end(),
                     [&](const std::string &character) { return numbers_.count(character) > 0; });
}

Labels Alphabet::Encode(const std::string &text) const {
  Labels labels;
  for (const std::string &character : Characters(text)) {
    const auto number = numbers_.find(character);
    if (number == numbers_.end()) {
      throw UserError("'" + character + "' in '" + text.substr(0, 60) + "' is no label of the network");
    }
    labels.push_back(number->second);
  }
  return labels;
}

std::vector<std::string> Characters(const std::string &text) {
  std::vector<std::string> characters;
  for (const char byte : text) {
    const bool continues = (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
    if (continues && !characters.empty()) {
      characters.back() += byte;
    } else {
      characters.emplace_back(1, byte);
    }
  }
  return characters;
}

std::vector<std::string> Words(const std::string &text) {
  std::vector<std::string> words;
  bool between = true;
  for (const std::string &character : Characters(text)) {
    if (IsSpace(character)) {
      between = true;
    } else if (between) {
      words.push_back(character);
      between = false;
    } else {
      words.back() += character;
    }
  }
  return words;
}

std::string Join(const std::vector<std::string> &parts, const std::string &between) {
  std::string joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    joined += (i > 0 ? between : "") + parts[i];
  }
  return joined;
}
