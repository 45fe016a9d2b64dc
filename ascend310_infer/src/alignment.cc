#include "alignment.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "error.h"

namespace {
constexpr double kNever = -std::numeric_limits<double>::infinity();

// Frames without which there is no path: one for each label, and a blank between equal neighbours.
size_t FramesNeeded(const Labels &labels) {
  size_t frames = labels.size();
  for (size_t i = 1; i < labels.size(); ++i) {
    frames += labels[i] == labels[i - 1] ? 1 : 0;
  }
  return frames;
}

// The most probable sequence of states, of which there is a blank around each label: a frame stays, goes one on, or
// skips a blank that is not needed.
std::vector<size_t> BestStates(const LogProbs &log_probs, const Labels &labels, int blank) {
  const size_t frames = log_probs.Frames();
  const size_t states = 2 * labels.size() + 1;
  if (frames < FramesNeeded(labels)) {
    throw UserError("alignment: " + std::to_string(frames) + " frames, expected at least " +
                    std::to_string(FramesNeeded(labels)) + " for " + std::to_string(labels.size()) +
                    " labels; the text is too long for the recording");
  }
  if (frames == 0) {
    return {};
  }
  const auto label = [&](size_t state) { return static_cast<size_t>(state % 2 == 0 ? blank : labels[state / 2]); };
  const auto may_skip = [&](size_t state) {
    return state % 2 == 1 && state > 1 && labels[state / 2] != labels[state / 2 - 1];
  };
  std::vector<double> score(states, kNever);
  for (size_t state = 0; state < std::min<size_t>(2, states); ++state) {
    score[state] = log_probs[0][label(state)];
  }
  std::vector<uint8_t> steps(frames * states);  // how many states back the best way into each came from
  for (size_t frame = 1; frame < frames; ++frame) {
    for (size_t state = states; state-- > 0;) {
      double best = score[state];
      for (size_t back = 1; back <= std::min<size_t>(state, may_skip(state) ? 2 : 1); ++back) {
        if (score[state - back] > best) {
          best = score[state - back];
          steps[frame * states + state] = static_cast<uint8_t>(back);
        }
      }
      score[state] = best + log_probs[frame][label(state)];
    }
  }
  // ends in the last label or the blank after it
  size_t state = states - 1 - (states > 1 && score[states - 2] > score[states - 1] ? 1 : 0);
  if (score[state] == kNever) {
    throw UserError("alignment: the text has probability zero in this recording; it belongs to another");
  }
  std::vector<size_t> path(frames);
  for (size_t frame = frames; frame-- > 0;) {
    path[frame] = state;
    state -= steps[frame * states + state];
  }
  return path;
}
}  // namespace

std::vector<Word> WordTimes(const LogProbs &log_probs, const std::string &text, const Alphabet &alphabet,
                            double seconds_per_frame) {
  const std::vector<size_t> path = BestStates(log_probs, alphabet.Encode(text), alphabet.blank());
  std::vector<Word> times;
  size_t place = 0;  // in characters: the label before it has state 2 * place - 1
  size_t frame = 0;
  for (const std::string &word : alphabet.spaced() ? Words(text) : Characters(text)) {
    const size_t length = Characters(word).size();
    while (path[frame] < 2 * place + 1) {
      ++frame;
    }
    const size_t first = frame;
    while (frame < path.size() && path[frame] <= 2 * (place + length) - 1) {
      ++frame;
    }
    times.push_back(
        {word, static_cast<double>(first) * seconds_per_frame, static_cast<double>(frame) * seconds_per_frame});
    place += length + (alphabet.spaced() ? 1 : 0);  // the words of a text are a space apart
  }
  return times;
}
