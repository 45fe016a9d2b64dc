// What a graph takes and gives, from the inputs.json that export.py writes beside it.
#ifndef ASCEND310_INFER_INC_INTERFACE_H_
#define ASCEND310_INFER_INC_INTERFACE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

constexpr int64_t kAnySize = -1;

struct Port {
  std::string name;
  std::string dtype;           // float32 or int32
  std::vector<int64_t> shape;  // kAnySize at one place at most
  int64_t add = 0;             // of an output: its size at that place is (n + add) / step, rounded down,
  int64_t step = 0;            // where that of the first input is n; step 0: not known

  bool scales = false;  // an output: with the first input, whose gain it is divided by

  // The shape of a tensor of so many bytes; UserError where they do not fit.
  std::vector<int64_t> ShapeOf(size_t bytes) const;
};

// UserError for an output of `found` numbers that is not rows x columns, as inputs.json has it.
void RequireSize(size_t found, size_t rows, size_t columns);

// Log-likelihood ratio = scale * score + offset + duration * log(joint seconds), as ecapatdnn/src/calibration.py.
struct Calibration {
  double scale = 0;
  double offset = 0;
  double duration = 0;
};

// What recordings are run for. Lengths are in samples of the waveform.
struct AnswerKind {
  enum class Kind { kNone, kText, kVoices, kEmbedding };  // kNone: the graph's outputs alone, as .bin files

  Kind kind = Kind::kNone;
  int64_t window = 0;   // run at once, of longer recordings; of an embedding the longest part
  int64_t overlap = 0;  // of two windows

  // of text
  std::vector<std::string> labels;  // one character each, UTF-8
  int64_t blank = 0;                // the label for none
  bool spaced = true;               // whether spaces stand between words, else each character is a word
  int64_t frame_samples = 0;        // of a frame of the first output
  int64_t pause = 0;                // frames without a letter, between which a text is cut
  int64_t segment = 0;              // frames, after which a pause is a cut
  int64_t longest = 0;              // frames, after which a text is cut anyhow
  int64_t beam_width = 0;           // prefixes held where no other number is asked for; 0: greedy
  double alpha = 0;                 // weight of a language model where no other is asked for
  double beta = 0;                  // and reward of a word

  // of an embedding
  std::optional<double> threshold;         // the least score of one speaker
  std::optional<Calibration> calibration;  // of scores; none: the checkpoint has none
};

// UserError for outputs of the network that no answer can be made of: NaN or infinite; only log probabilities may be
// -infinite.
void RequireNumbers(const std::vector<float> &values, const AnswerKind &answer);

// How a graph with states goes through a recording that arrives: Steps in utils/layers/steps.py. Its inputs are a
// window of samples, how many of them are the recording's, and the states.
struct Streaming {
  int64_t samples = 0;  // that a step goes on by; 0: the graph is none of these
  int64_t window = 0;   // samples that a step sees
  int64_t before = 0;   // of them before its own
  int64_t rows = 0;     // that a step gives
  int64_t delay = 0;    // rows that they come later
  int64_t add = 0;      // a recording of n samples has (n + add) / step rows
  int64_t step = 1;
  int64_t mirrored = 0;        // samples beyond either end that are the mirror image of the recording
  int64_t shortest = 0;        // samples that a recording has at least, zeros at its end
  std::vector<size_t> states;  // of the inputs from the third on: the output that is its next value

  // Samples that follow one, at most, before the row of its time is given.
  int64_t Latency() const { return window - before - 1 + delay * step; }
};

struct Interface {
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  std::string runtime;       // the one it was exported for; empty: any that reads its version of MindIR
  bool custom = false;       // holds operators of utils/cpu_ops
  int64_t branches = 1;      // operators that can run side by side
  double step_seconds = 0;   // that the second dimension of the first input advances in time
  int64_t sample_rate = 0;   // Hz
  int64_t shortest = 0;      // that the second dimension of the first input may be
  int64_t wav_multiple = 0;  // wav files are padded to a multiple of so many samples; 0: the graph takes no waveform
  bool raise_quiet = false;  // recordings far below the usual level are raised to it
  std::vector<int64_t>
      gears;  // lengths, rising, that the first input is padded to; the last input gives its own length
  AnswerKind answer;
  Streaming streaming;
  std::filesystem::path config;  // of the runtime, and of the converter that compiles the gears; may be empty

  // The inputs that come from files: all but the length.
  size_t FileCount() const { return inputs.size() - (gears.empty() ? 0 : 1); }

  // Whether a wav file is all it takes.
  bool TakesWaveform() const;
};

// Reads inputs.json beside the graph. UserError where it is missing or does not describe a graph.
Interface ReadInterface(const std::filesystem::path &mindir_path);

// UserError for a streaming graph, where whole recordings are run.
void RefuseSteps(const Interface &interface, const std::string &mindir_path);

#endif  // ASCEND310_INFER_INC_INTERFACE_H_
