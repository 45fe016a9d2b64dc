// The C++ runner's answers of text as functions for ctypes: helpers/text_answers.py.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "alignment.h"
#include "alphabet.h"
#include "decoder.h"
#include "transcript.h"
#ifdef HAS_KENLM
#include "language_model.h"
#endif

namespace {
std::string result;  // of the last call

std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

std::string Line(const Word &word) { return Number(word.start) + "\t" + Number(word.end) + "\t" + word.text + "\n"; }

template <class Function>
const char *Call(const Function &function) {
  try {
    result = "done\n";
    function();
  } catch (const std::exception &error) {
    result = error.what();
  }
  return result.c_str();
}

LogProbs Matrix(const Alphabet &alphabet, const float *values, int64_t frames) {
  return LogProbs(alphabet.Size(), std::vector<float>(values, values + frames * static_cast<int64_t>(alphabet.Size())));
}

// Fills in the log probabilities for samples.
using Network = void (*)(const float *, int64_t, float *);

TextNetwork Wrapped(const AnswerKind &answer, Network network) {
  return [network, frame = static_cast<size_t>(answer.frame_samples),
          labels = answer.labels.size()](const std::vector<float> &samples) {
    std::vector<float> log_probs((samples.size() / frame + 1) * labels);
    network(samples.data(), static_cast<int64_t>(samples.size()), log_probs.data());
    return log_probs;
  };
}

AnswerKind Answer(const char *labels, int spaced, const int64_t *facts) {
  AnswerKind answer;
  answer.labels = Characters(labels);
  answer.spaced = spaced != 0;
  for (int64_t *value :
       {&answer.window, &answer.overlap, &answer.frame_samples, &answer.pause, &answer.segment, &answer.longest}) {
    *value = *facts++;
  }
  return answer;
}

template <class Target>
void Feed(Target *target, const float *samples, int64_t count, int64_t block) {
  for (int64_t start = 0; start < count; start += block) {
    target->Push(std::vector<float>(samples + start, samples + std::min(count, start + block)));
  }
  target->Finish();
}
}  // namespace

extern "C" {
// A line for each text: its log probability and it. width 0: greedy.
const char *Decode(const char *labels, int spaced, const float *values, int64_t frames, int64_t width) {
  return Call([&] {
    const Alphabet alphabet(Characters(labels), 0, spaced != 0);
    const LogProbs log_probs = Matrix(alphabet, values, frames);
    if (width == 0) {
      result += "0\t" + alphabet.Decode(Greedy(log_probs, 0)) + "\n";
      return;
    }
    for (const auto &[text, score] : BeamSearch(log_probs, 0, static_cast<size_t>(width))) {
      result += Number(score) + "\t" + alphabet.Decode(text) + "\n";
    }
  });
}

#ifdef HAS_KENLM
// The best text by a language model and its score.
const char *DecodeByModel(const char *labels, int spaced, const char *path, double alpha, double beta,
                          const float *values, int64_t frames, int64_t width) {
  return Call([&] {
    const Alphabet alphabet(Characters(labels), 0, spaced != 0);
    const LanguageModel model(path, alphabet, alpha, beta);
    const auto [text, score] = model.Decode(Matrix(alphabet, values, frames), static_cast<size_t>(width));
    result += Number(score) + "\t" + text + "\n";
  });
}
#endif

// A line for each word: start, end and it.
const char *Align(const char *labels, int spaced, const float *values, int64_t frames, const char *text,
                  double seconds) {
  return Call([&] {
    const Alphabet alphabet(Characters(labels), 0, spaced != 0);
    for (const Word &word : WordTimes(Matrix(alphabet, values, frames), text, alphabet, seconds)) {
      result += Line(word);
    }
  });
}

// facts: window, overlap, frame_samples, pause, segment, longest of an AnswerKind, sample rate, longest and fixed
// length of the graph, samples of a block, beam width. A line for each segment, and for each of its words.
const char *Transcribe(const char *labels, int spaced, const int64_t *facts, const float *samples, int64_t count,
                       Network network) {
  return Call([&] {
    const AnswerKind answer = Answer(labels, spaced, facts);
    Transcriber transcriber(
        answer, facts[6], {facts[7], facts[8] != 0}, Wrapped(answer, network),
        MakeDecoder(Alphabet(answer.labels, 0, answer.spaced), {static_cast<int>(facts[10]), "", 0, 0}), true,
        [](const Segment &segment) {
          result += "segment\t" + Line({segment.text, segment.start, segment.end});
          for (const Word &word : segment.words) {
            result += "word\t" + Line(word);
          }
        });
    Feed(&transcriber, samples, count, facts[9]);
  });
}

// The log probabilities of the windows, piece by piece.
const char *Join(const char *labels, const int64_t *facts, const float *samples, int64_t count, Network network,
                 void (*take)(const float *, int64_t)) {
  return Call([&] {
    const AnswerKind answer = Answer(labels, 1, facts);
    Windows windows(answer, {facts[7], facts[8] != 0}, Wrapped(answer, network),
                    [&](const LogProbs &piece) { take(piece[0], static_cast<int64_t>(piece.Frames())); });
    Feed(&windows, samples, count, facts[9]);
  });
}
}
