// The labels of a network that writes text: deepspeech2/src/text.py.
#ifndef ASCEND310_INFER_INC_ALPHABET_H_
#define ASCEND310_INFER_INC_ALPHABET_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

using Labels = std::vector<int>;

class Alphabet {
 public:
  // `labels`: one character each, in UTF-8; `blank`: the number of CTC's blank among them; `spaced`: whether spaces
  // stand between words, else each character is a word. UserError for labels that are none.
  Alphabet(std::vector<std::string> labels, int64_t blank, bool spaced);

  size_t Size() const { return characters_.size(); }
  int blank() const { return blank_; }
  bool spaced() const { return spaced_; }

  std::string Decode(const Labels &labels) const;

  // Whether every character of a text has a label.
  bool Spells(const std::string &text) const;

  // The labels of a text. UserError for a character without one.
  Labels Encode(const std::string &text) const;

 private:
  std::vector<std::string> characters_;
  std::unordered_map<std::string, int> numbers_;
  int blank_;
  bool spaced_;
};

// The characters of a text in UTF-8; a byte that is none is one of its own.
std::vector<std::string> Characters(const std::string &text);

// The words of a text, between any whitespace of Unicode, as Python's str.split().
std::vector<std::string> Words(const std::string &text);

std::string Join(const std::vector<std::string> &parts, const std::string &between);

#endif  // ASCEND310_INFER_INC_ALPHABET_H_
