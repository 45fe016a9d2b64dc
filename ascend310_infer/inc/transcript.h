// What is said in recordings of any length, while they arrive, as deepspeech2/src/windows.py and inference.py.
//
// It is made for one recording: samples go in at the rate of the graph, segments of text come out between pauses. What
// it holds does not grow with the recording.
#ifndef ASCEND310_INFER_INC_TRANSCRIPT_H_
#define ASCEND310_INFER_INC_TRANSCRIPT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "alignment.h"
#include "alphabet.h"
#include "decoder.h"
#include "interface.h"
#include "log_probs.h"

// Samples of one recording -> what the graph gives for them, frame by frame: (samples / frame_samples + 1, labels).
using TextNetwork = std::function<std::vector<float>(const std::vector<float> &)>;

// How many samples a graph takes at once.
struct GraphLength {
  int64_t longest = 0;    // 0: any number
  bool is_fixed = false;  // what is shorter gets zeros behind it
};

// What is said between two pauses.
struct Segment {
  double start = 0;  // seconds
  double end = 0;
  std::string text;
  std::vector<Word> words;  // none unless they were asked for
};

// Log probabilities of a recording from windows that overlap, each normalised on its own as an utterance. Two windows
// are joined where both are surest that nothing is said, in the middle half of their overlap. A recording no longer
// than a window is what the network gives for the whole of it. With a graph of fixed length the last window ends with
// the recording, so that nothing but a short recording gets zeros behind it.
class Windows {
 public:
  using Take = std::function<void(const LogProbs &)>;

  // `take` gets the log probabilities piece by piece, those of every frame once.
  Windows(const AnswerKind &answer, GraphLength length, TextNetwork network, Take take);

  void Push(const std::vector<float> &samples);
  void Finish();

 private:
  int64_t Waiting() const { return static_cast<int64_t>(waiting_.size()); }
  void Run(int64_t start, int64_t stop, bool is_last);

  size_t labels_, blank_;
  int64_t frame_, size_;  // samples
  int64_t overlap_ = 0;   // frames
  bool is_fixed_;
  TextNetwork network_;
  Take take_;
  std::vector<float> waiting_;  // from the first sample of the window before
  int64_t next_ = 0;            // the first sample of the next window, there
  LogProbs held_;               // the end of the window before
};

// Log probabilities piece by piece -> stretches between pauses, so that no more than a minute has to be decoded.
class Stretches {
 public:
  // The first frame of a stretch, and its log probabilities.
  using Take = std::function<void(int64_t, const LogProbs &)>;

  Stretches(const AnswerKind &answer, Take take);

  void Push(const LogProbs &piece);
  void Finish();

 private:
  // Frames before the middle of the first pause behind a segment; where a text is too long, before its surest blank.
  // 0: none yet.
  size_t Cut() const;

  size_t blank_, pause_, segment_, longest_;
  Take take_;
  LogProbs waiting_;
  int64_t first_ = 0;
};

// The text of one recording.
class Transcriber {
 public:
  using Take = std::function<void(const Segment &)>;

  // `decode`: the text of log probabilities. `take` gets each segment as soon as it is known.
  Transcriber(const AnswerKind &answer, int64_t sample_rate, GraphLength length, TextNetwork network,
              TextDecoder decode, bool timestamps, Take take);
  Transcriber(const Transcriber &) = delete;  // its parts refer to it
  Transcriber &operator=(const Transcriber &) = delete;

  // Samples, or the log probabilities of what a graph with states has computed of them; not both.
  void Push(const std::vector<float> &samples) { windows_.Push(samples); }
  void Push(const LogProbs &log_probs) { stretches_.Push(log_probs); }
  void Finish();

 private:
  void Decode(int64_t first, const LogProbs &log_probs);

  Alphabet alphabet_;
  double seconds_per_frame_;
  TextDecoder decode_;
  bool timestamps_;
  Take take_;
  Stretches stretches_;
  Windows windows_;
};

#endif  // ASCEND310_INFER_INC_TRANSCRIPT_H_
