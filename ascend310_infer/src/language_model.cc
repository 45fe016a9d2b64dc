#include "language_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <lm/config.hh>
#include <lm/enumerate_vocab.hh>
#include <lm/model.hh>
#include <map>
#include <utility>
#include <vector>

#include "error.h"

namespace {
// Of pyctcdecode
constexpr double kUnknown = -10;        // added to the log10 probability of a word that the model does not know
constexpr double kUsualLength = 6;      // characters of a word: a longer part of none costs more
constexpr double kLeastTotal = -10;     // of a prefix, against the best one
constexpr double kLeastLabel = -5;      // log probability of a label but the best one
const double kFloor = std::log(1e-15);  // of all log probabilities
const double kNatural = 1 / std::log10(std::exp(1.0));  // log10 -> natural

using State = lm::ngram::State;

// The words of a model but for its marks.
class WordList : public lm::EnumerateVocab {
 public:
  void Add(lm::WordIndex, const StringPiece &word) override {
    std::string lower(word.data(), word.size());
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char letter) {
      return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
    });
    if (lower != "<unk>" && lower != "<s>" && lower != "</s>") {
      words.emplace_back(word.data(), word.size());
    }
  }

  std::vector<std::string> words;
};

// What a model must be for the labels.
void CheckSpelling(const std::string &path, const std::vector<std::string> &words, const Alphabet &alphabet) {
  const auto spells = [&](const std::string &word) { return alphabet.Spells(word); };
  if (alphabet.spaced() && !alphabet.Spells(" ")) {
    throw UserError(path + ": the labels of the graph hold no space, a language model of words needs it");
  }
  const auto is_long = [](const std::string &word) { return Characters(word).size() > 1; };
  const auto longer = static_cast<size_t>(std::count_if(words.begin(), words.end(), is_long));
  if (!alphabet.spaced() && 2 * longer > words.size()) {
    throw UserError(path + ": a model of words such as '" + *std::find_if(words.begin(), words.end(), is_long) +
                    "', but no label is a space; take one of characters, which lm.py estimate --labels makes");
  }
  if (!words.empty() && std::none_of(words.begin(), words.end(), spells)) {
    throw UserError(path + ": words such as '" + words[0] +
                    "', none of which the labels of the graph can spell; take a model in the case of the labels");
  }
}

// log(exp(a) + exp(b))
double LogAdd(double a, double b) { return std::max(a, b) + std::log(1 + std::exp(std::min(a, b) - std::max(a, b))); }

// Natural log probabilities of one frame, that add up to one.
std::vector<double> Normalised(const float *frame, size_t labels) {
  const double most = *std::max_element(frame, frame + labels);
  double sum = 0;
  for (size_t label = 0; label < labels; ++label) {
    sum += std::exp(frame[label] - most);
  }
  std::vector<double> row(labels);
  for (size_t label = 0; label < labels; ++label) {
    row[label] = std::min(std::max(kFloor, frame[label] - most - std::log(sum)), 0.0);  // the floor for no number
  }
  return row;
}
}  // namespace

// What the model says of words and of the beginnings of words: pyctcdecode's scorer with two corrections. Nothing
// behind the last space of an utterance, or in an empty one, is no unknown word. And an unknown word has the same
// penalty, scaled by alpha, while it grows as when it ends.
class LanguageModel::Scorer {
 public:
  Scorer(const std::string &path, const Alphabet &alphabet, double alpha, double beta) : alpha_(alpha), beta_(beta) {
    WordList list;
    try {
      try {
        Load(path, &list);
      } catch (const lm::FormatLoadException &) {  // a binary that was built without its words
        list.words.clear();
        Load(path, nullptr);
      }
    } catch (const std::exception &error) {
      const std::string reason = Join(Words(error.what()), " ");
      const size_t because = reason.rfind(" because ");
      throw UserError(path + ": KenLM refuses it (" +
                      (because == std::string::npos ? reason : reason.substr(because + 9)) +
                      "); estimate or copy it again");
    }
    CheckSpelling(path, list.words, alphabet);
    words_ = std::move(list.words);
    std::sort(words_.begin(), words_.end());
  }

  State Start() const {
    State state;
    model_->BeginSentenceWrite(&state);
    return state;
  }

  // The weighted natural log probability of `word` behind `before`, and the state `after` it.
  double Word(const State &before, const std::string &word, State *after) const {
    const lm::WordIndex number = model_->BaseVocabulary().Index(word);
    double score = model_->BaseScore(&before, number, after);
    if (number == 0 || (!words_.empty() && !std::binary_search(words_.begin(), words_.end(), word))) {
      score += kUnknown;
    }
    return Weighted(score) + beta_;
  }

  // That of the end of the text.
  double End(const State &before) const {
    State after;
    return Weighted(model_->BaseScore(&before, model_->BaseVocabulary().EndSentence(), &after));
  }

  // The penalty of a part that no known word begins with.
  double Part(const std::string &part, size_t length) const {
    const auto word = std::lower_bound(words_.begin(), words_.end(), part);
    if (word != words_.end() && word->compare(0, part.size(), part) == 0) {
      return 0;
    }
    return Weighted(kUnknown * std::max(1.0, static_cast<double>(length) / kUsualLength));
  }

 private:
  void Load(const std::string &path, lm::EnumerateVocab *words) {
    lm::ngram::Config config;
    config.show_progress = false;
    config.messages = nullptr;
    config.arpa_complain = lm::ngram::Config::NONE;
    config.enumerate_vocab = words;
    model_.reset(lm::ngram::LoadVirtual(path.c_str(), config));
  }

  double Weighted(double score) const { return alpha_ * score * kNatural; }

  double alpha_, beta_;
  std::unique_ptr<lm::base::Model> model_;
  std::vector<std::string> words_;  // known, sorted; none: the model does not hold their letters
};

// Beginnings of words, and texts of whole words, each once: the same letters or words are the same number. 0: nothing.
class LanguageModel::Beginnings {
 public:
  Beginnings(const Scorer &scorer, const Alphabet &alphabet) : scorer_(scorer), alphabet_(alphabet) {
    parts_.push_back({"", 0, 0});
    texts_.push_back({0, 0, 0, scorer.Start()});
  }

  int Grow(int part, int label) {
    const auto [entry, is_new] = grown_.try_emplace({part, label}, static_cast<int>(parts_.size()));
    if (is_new) {
      const Part &before = parts_[static_cast<size_t>(part)];
      std::string letters = before.letters + alphabet_.Decode({label});
      const double score = scorer_.Part(letters, before.length + 1);
      parts_.push_back({std::move(letters), before.length + 1, score});
    }
    return entry->second;
  }

  // `text` with a word behind it.
  int Append(int text, int word) {
    if (word == 0) {
      return text;
    }
    const auto [entry, is_new] = appended_.try_emplace({text, word}, static_cast<int>(texts_.size()));
    if (is_new) {
      const Text &before = texts_[static_cast<size_t>(text)];
      Text after{text, word, 0, {}};
      after.score = before.score + scorer_.Word(before.state, parts_[static_cast<size_t>(word)].letters, &after.state);
      texts_.push_back(after);
    }
    return entry->second;
  }

  double Score(int text, int part) const {
    return texts_[static_cast<size_t>(text)].score + parts_[static_cast<size_t>(part)].score;
  }

  double EndScore(int text) const {
    const Text &last = texts_[static_cast<size_t>(text)];
    return last.score + scorer_.End(last.state);
  }

  std::vector<std::string> Path(int text) const {
    std::vector<std::string> words;
    for (; text != 0; text = texts_[static_cast<size_t>(text)].before) {
      words.push_back(parts_[static_cast<size_t>(texts_[static_cast<size_t>(text)].word)].letters);
    }
    std::reverse(words.begin(), words.end());
    return words;
  }

 private:
  struct Part {
    std::string letters;
    size_t length;  // characters
    double score;
  };
  struct Text {
    int before, word;
    double score;
    State state;
  };

  const Scorer &scorer_;
  const Alphabet &alphabet_;
  std::vector<Part> parts_;
  std::vector<Text> texts_;
  std::map<std::pair<int, int>, int> grown_, appended_;
};

// Prefixes that are held, each once.
class LanguageModel::Beam {
 public:
  struct Prefix {
    int text;      // whole words
    int part;      // what follows them
    int last;      // label, also the blank; -1: none
    double score;  // log probability of its alignments
    double total;  // with that of the language model
  };

  void Add(int text, int part, int last, double score) {
    const auto [entry, is_new] = places_.try_emplace({text, part, last}, prefixes.size());
    if (is_new) {
      prefixes.push_back({text, part, last, score, 0});
    } else {
      double &all = prefixes[entry->second].score;
      all = LogAdd(all, score);
    }
  }

  // Keeps the `width` best by their totals, best first, that are not hopeless.
  void Prune(size_t width) {
    double best = -std::numeric_limits<double>::infinity();
    for (const Prefix &prefix : prefixes) {
      best = std::max(best, prefix.total);
    }
    const auto hopeless = [&](const Prefix &prefix) { return prefix.total < best + kLeastTotal; };
    prefixes.erase(std::remove_if(prefixes.begin(), prefixes.end(), hopeless), prefixes.end());
    std::stable_sort(prefixes.begin(), prefixes.end(),
                     [](const Prefix &a, const Prefix &b) { return a.total > b.total; });
    prefixes.resize(std::min(prefixes.size(), width));
  }

  std::vector<Prefix> prefixes;

 private:
  std::map<std::array<int, 3>, size_t> places_;
};

LanguageModel::LanguageModel(const std::filesystem::path &path, const Alphabet &alphabet, double alpha, double beta)
    : alphabet_(alphabet), scorer_(std::make_unique<Scorer>(path.string(), alphabet, alpha, beta)) {}

LanguageModel::~LanguageModel() = default;

std::pair<std::string, double> LanguageModel::Decode(const LogProbs &log_probs, size_t width) const {
  if (log_probs.Frames() == 0) {
    return {"", 0};
  }
  Beginnings beginnings(*scorer_, alphabet_);
  const int space = alphabet_.spaced() ? alphabet_.Encode(" ")[0] : -1;
  Beam beam;
  beam.Add(0, 0, -1, 0);
  for (size_t frame = 0; frame < log_probs.Frames(); ++frame) {
    const std::vector<double> row = Normalised(log_probs[frame], log_probs.labels());
    const auto best = static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
    Beam next;
    for (int label = 0; label < static_cast<int>(row.size()); ++label) {
      if (row[static_cast<size_t>(label)] < kLeastLabel && label != best) {
        continue;
      }
      for (const Beam::Prefix &prefix : beam.prefixes) {
        const double score = prefix.score + row[static_cast<size_t>(label)];
        if (label == alphabet_.blank() || label == prefix.last) {
          next.Add(prefix.text, prefix.part, label, score);
        } else if (label == space) {
          next.Add(beginnings.Append(prefix.text, prefix.part), 0, label, score);
        } else if (alphabet_.spaced()) {
          next.Add(prefix.text, beginnings.Grow(prefix.part, label), label, score);
        } else {
          next.Add(beginnings.Append(prefix.text, prefix.part), beginnings.Grow(0, label), label, score);
        }
      }
    }
    for (Beam::Prefix &prefix : next.prefixes) {
      prefix.total = prefix.score + beginnings.Score(prefix.text, prefix.part);
    }
    next.Prune(width);
    beam = std::move(next);
  }
  Beam ends;
  for (const Beam::Prefix &prefix : beam.prefixes) {
    ends.Add(beginnings.Append(prefix.text, prefix.part), 0, -1, prefix.score);
  }
  for (Beam::Prefix &prefix : ends.prefixes) {
    prefix.total = prefix.score + beginnings.EndScore(prefix.text);
  }
  ends.Prune(1);
  return {Join(beginnings.Path(ends.prefixes[0].text), alphabet_.spaced() ? " " : ""), ends.prefixes[0].total};
}
