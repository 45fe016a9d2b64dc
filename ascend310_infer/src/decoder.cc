#include "decoder.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <unordered_map>

#ifdef HAS_KENLM
#include "language_model.h"
#else
#include "error.h"
#endif

namespace {
constexpr double kNever = -std::numeric_limits<double>::infinity();

// log(exp(a) + exp(b)), as numpy's logaddexp.
double LogAdd(double a, double b) {
  if (a == b) {
    return a + std::log(2.0);
  }
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

// The places of the `count` greatest, of equals the first; rising.
template <class Number>
std::vector<size_t> Best(const std::vector<Number> &scores, size_t count) {
  std::vector<size_t> kept;
  if (scores.size() <= count) {
    kept.resize(scores.size());
    std::iota(kept.begin(), kept.end(), size_t{0});
    return kept;
  }
  std::vector<Number> sorted = scores;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(count - 1), sorted.end(),
                   std::greater<>());
  const Number least = sorted[count - 1];
  size_t equals = count;
  for (const Number score : scores) {
    equals -= score > least ? 1 : 0;
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > least || (scores[i] == least && equals > 0)) {
      equals -= scores[i] > least ? 0 : 1;
      kept.push_back(i);
    }
  }
  return kept;
}

// Prefixes as nodes: the same labels are always the same node. The root is the empty text.
class PrefixTree {
 public:
  PrefixTree(size_t labels, int blank) : labels_(labels), last_{blank}, parent_{-1} {}

  int Grow(int node, int label) {
    const auto [entry, is_new] =
        nodes_.try_emplace(static_cast<uint64_t>(node) * labels_ + static_cast<uint64_t>(label), Size());
    if (is_new) {
      last_.push_back(label);
      parent_.push_back(node);
    }
    return entry->second;
  }

  int Size() const { return static_cast<int>(last_.size()); }
  int Last(int node) const { return last_[static_cast<size_t>(node)]; }
  int Parent(int node) const { return parent_[static_cast<size_t>(node)]; }

  // From the root to `node`.
  Labels Path(int node) const {
    Labels path;
    for (; node != 0; node = Parent(node)) {
      path.push_back(Last(node));
    }
    std::reverse(path.begin(), path.end());
    return path;
  }

 private:
  size_t labels_;
  std::vector<int> last_, parent_;  // of the root the blank and -1
  std::unordered_map<uint64_t, int> nodes_;
};

// A prefix that is held.
struct Prefix {
  int node = 0;
  double blank = 0;  // log probability of its alignments that end in a blank
  double label = 0;  // of those that end in its last label

  double Total() const { return LogAdd(blank, label); }
};

// The labels that may follow a prefix which is kept, rising: a prefix grows by its best labels. At most `width` of its
// texts are kept; of the better ones some are its own label again, the blank, or prefixes that are held already, so
// twice as many labels and two are enough.
std::vector<int> UsefulLabels(const float *frame, size_t labels, const std::vector<Prefix> &prefixes,
                              const PrefixTree &tree, int blank, size_t width) {
  std::vector<int> used;
  for (const size_t label : Best(std::vector<float>(frame, frame + labels), 2 * width + 2)) {
    used.push_back(static_cast<int>(label));
  }
  if (used.size() < labels) {
    used.push_back(blank);
    for (const Prefix &prefix : prefixes) {
      used.push_back(tree.Last(prefix.node));
    }
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
  }
  return used;
}

// The prefixes after one frame more.
std::vector<Prefix> Advance(const std::vector<Prefix> &prefixes, const float *frame, size_t labels, int blank,
                            size_t width, PrefixTree *tree) {
  const std::vector<int> used = UsefulLabels(frame, labels, prefixes, *tree, blank, width);
  const auto place = [&](int label) {
    return static_cast<size_t>(std::lower_bound(used.begin(), used.end(), label) - used.begin());
  };
  const size_t count = prefixes.size();
  std::vector<Prefix> same(count);                         // each prefix as it is
  std::vector<double> grown(count * used.size(), kNever);  // and with each label behind it
  std::unordered_map<int, size_t> held;
  for (size_t i = 0; i < count; ++i) {
    const Prefix &prefix = prefixes[i];
    const int last = tree->Last(prefix.node);
    const double total = prefix.Total();
    for (size_t j = 0; j < used.size(); ++j) {
      if (used[j] != blank) {  // the same label again needs a blank between
        grown[i * used.size() + j] = (used[j] == last ? prefix.blank : total) + frame[used[j]];
      }
    }
    same[i] = {prefix.node, total + frame[blank], last == blank ? kNever : prefix.label + frame[last]};
    held[prefix.node] = i;
  }
  std::vector<double> scores;
  for (size_t i = 0; i < count; ++i) {
    const auto mother = held.find(tree->Parent(prefixes[i].node));
    if (mother != held.end()) {  // one that is held becomes this one
      double &here = grown[mother->second * used.size() + place(tree->Last(prefixes[i].node))];
      same[i].label = LogAdd(same[i].label, here);
      here = kNever;
    }
    scores.push_back(same[i].Total());
  }
  scores.insert(scores.end(), grown.begin(), grown.end());
  std::vector<Prefix> next;
  for (const size_t kept : Best(scores, width)) {
    if (scores[kept] == kNever) {
      continue;
    }
    if (kept < count) {
      next.push_back(same[kept]);
    } else {
      const size_t row = (kept - count) / used.size();
      const size_t column = (kept - count) % used.size();
      next.push_back({tree->Grow(prefixes[row].node, used[column]), kNever, scores[kept]});
    }
  }
  return next;
}
}  // namespace

Labels Greedy(const LogProbs &log_probs, int blank) {
  Labels labels;
  int last = blank;
  for (size_t frame = 0; frame < log_probs.Frames(); ++frame) {
    const float *row = log_probs[frame];
    const int label = static_cast<int>(std::max_element(row, row + log_probs.labels()) - row);
    if (label != last && label != blank) {
      labels.push_back(label);
    }
    last = label;
  }
  return labels;
}

std::vector<std::pair<Labels, double>> BeamSearch(const LogProbs &log_probs, int blank, size_t width) {
  PrefixTree tree(log_probs.labels(), blank);
  std::vector<Prefix> prefixes = {{0, 0, kNever}};
  for (size_t frame = 0; frame < log_probs.Frames(); ++frame) {
    prefixes = Advance(prefixes, log_probs[frame], log_probs.labels(), blank, width, &tree);
  }
  std::stable_sort(prefixes.begin(), prefixes.end(),
                   [](const Prefix &a, const Prefix &b) { return a.Total() > b.Total(); });
  std::vector<std::pair<Labels, double>> texts;
  for (const Prefix &prefix : prefixes) {
    texts.emplace_back(tree.Path(prefix.node), prefix.Total());
  }
  return texts;
}

TextDecoder MakeDecoder(const Alphabet &alphabet, const DecoderSettings &settings) {
  const auto width = static_cast<size_t>(settings.beam_width);
  if (!settings.lm_path.empty()) {
#ifdef HAS_KENLM
    const auto model = std::make_shared<LanguageModel>(settings.lm_path, alphabet, settings.alpha, settings.beta);
    return [model, held = width > 0 ? width : kModelWidth](const LogProbs &log_probs) {
      return model->Decode(log_probs, held).first;
    };
#else
    throw UserError(settings.lm_path + ": this program was built without language models; build it where KenLM is " +
                    "to be had, see KENLM_HOME in build.sh");
#endif
  }
  return [alphabet, width](const LogProbs &log_probs) {
    if (width == 0) {
      return alphabet.Decode(Greedy(log_probs, alphabet.blank()));
    }
    const auto texts = BeamSearch(log_probs, alphabet.blank(), width);
    return texts.empty() ? "" : alphabet.Decode(texts[0].first);
  };
}
