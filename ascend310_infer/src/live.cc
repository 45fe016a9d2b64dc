#include "live.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <utility>

#include "decoder.h"
#include "error.h"
#include "files.h"
#include "level.h"
#include "options.h"
#include "resample.h"
#include "session.h"
#include "text.h"
#include "transcript.h"
#include "wav_writer.h"

namespace {
namespace fs = std::filesystem;

class LiveText : public Answer {
 public:
  LiveText(const Interface &interface, Predict predict, const AnswerSettings &settings, bool partial, Outlet outlet)
      : kind_(interface.answer),
        alphabet_(kind_.labels, kind_.blank, kind_.spaced),
        partial_(partial),
        seconds_(static_cast<double>(kind_.frame_samples) / static_cast<double>(interface.sample_rate)),
        outlet_(std::move(outlet)),
        unsaid_(kind_.labels.size()),
        transcriber_(
            kind_, interface.sample_rate, {}, [](const std::vector<float> &) { return std::vector<float>(); },
            settings.decode, settings.timestamps, [this](const Segment &segment) { Give(segment); }),
        steps_(interface, std::move(predict),
               [this](const std::vector<float> &values, int64_t first, int64_t last) { Add(values, first, last); }) {}

  void Push(const std::vector<float> &samples) override { steps_.Push(samples); }

  void Finish() override {
    steps_.Finish();
    transcriber_.Finish();
  }

 private:
  void Add(const std::vector<float> &values, int64_t first, int64_t last) {
    const LogProbs piece =
        LogProbs(kind_.labels.size(), values).Slice(static_cast<size_t>(first), static_cast<size_t>(last));
    unsaid_.Append(piece);
    transcriber_.Push(piece);
    if (partial_ && unsaid_.Frames() > 0) {
      outlet_.result({{"start", seconds_ * static_cast<double>(given_)},
                      {"end", seconds_ * static_cast<double>(given_ + unsaid_.Frames())},
                      {"partial", Join(Words(alphabet_.Decode(Greedy(unsaid_, alphabet_.blank()))), " ")}});
    }
  }

  void Give(const Segment &segment) {
    nlohmann::json words = nlohmann::json::array();
    for (const Word &word : segment.words) {
      words.push_back({{"start", word.start}, {"end", word.end}, {"text", word.text}});
    }
    outlet_.result({{"start", segment.start}, {"end", segment.end}, {"text", segment.text}, {"words", words}});
    const auto end = static_cast<size_t>(segment.end / seconds_ + 0.5);
    unsaid_.DropFront(end - given_);
    given_ = end;
  }

  const AnswerKind &kind_;
  Alphabet alphabet_;
  bool partial_;
  double seconds_;  // of a frame
  Outlet outlet_;
  LogProbs unsaid_;   // of the segment that is being spoken
  size_t given_ = 0;  // frames before it
  Transcriber transcriber_;
  Steps steps_;
};

class LiveVoices : public Answer {
 public:
  LiveVoices(const Interface &interface, Predict predict, Outlet outlet)
      : level_(static_cast<size_t>(interface.outputs[0].shape[1])),
        speakers_(static_cast<size_t>(interface.outputs[0].shape[1])),
        outlet_(std::move(outlet)),
        steps_(interface, std::move(predict),
               [this](const std::vector<float> &values, int64_t first, int64_t last) { Add(values, first, last); }) {}

  void Push(const std::vector<float> &samples) override {
    mixture_.insert(mixture_.end(), samples.begin(), samples.end());
    steps_.Push(samples);
  }

  void Finish() override { steps_.Finish(); }

 private:
  void Add(const std::vector<float> &values, int64_t first, int64_t last) {
    const auto rows = static_cast<std::ptrdiff_t>(values.size() / speakers_);
    std::vector<std::vector<float>> voices;
    for (size_t i = 0; i < speakers_; ++i) {
      const auto start = values.begin() + static_cast<std::ptrdiff_t>(i) * rows;
      voices.emplace_back(start + first, start + last);
    }
    const auto count =
        std::min(static_cast<std::ptrdiff_t>(last - first), static_cast<std::ptrdiff_t>(mixture_.size()));
    level_.Add({mixture_.begin(), mixture_.begin() + count}, voices);
    mixture_.erase(mixture_.begin(), mixture_.begin() + count);
    const std::vector<double> gains = level_.Gains();
    for (size_t i = 0; i < speakers_; ++i) {
      for (float &sample : voices[i]) {
        sample = static_cast<float>(gains[i] * sample);
      }
    }
    outlet_.voices(voices);
  }

  Level level_;
  size_t speakers_;
  Outlet outlet_;
  std::vector<float> mixture_;  // what has come of it, and not of the speakers
  Steps steps_;
};

// Text on standard output, as infer.py prints it or a JSON object per line.
void PrintText(const nlohmann::json &result, const Options &options) {
  if (options.json) {
    std::cout << result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  } else if (options.timestamps) {
    for (const auto &word : result.at("words")) {
      char times[64];
      std::snprintf(times, sizeof(times), "%.2f %.2f ", word.at("start").get<double>(), word.at("end").get<double>());
      std::cout << times << word.at("text").get<std::string>() << "\n";
    }
    std::cout << std::flush;
  } else if (const std::string text = result.at("text"); !text.empty()) {
    std::cout << text << std::endl;
  }
}

// A wav file per speaker, live_1.wav, ..., that grows and can be read at any time; at the rate of what arrives.
class Wavs {
 public:
  Wavs(const fs::path &folder, size_t speakers, int64_t from, int64_t to) : resampler_(from, to, speakers) {
    MakeFolder(folder);
    for (size_t i = 1; i <= speakers; ++i) {
      paths_.push_back(folder / ("live_" + std::to_string(i) + ".wav"));
      if (fs::exists(fs::symlink_status(paths_.back()))) {  // what was live cannot be had again
        throw OutputError(paths_.back().string() + ": is there already; move it away or name another --output_path");
      }
    }
    for (const fs::path &path : paths_) {
      writers_.emplace_back(path, to, WavWriter::Mode::kGrowing);
    }
  }

  void Add(const std::vector<std::vector<float>> &voices) {
    std::vector<float> frames;
    for (size_t t = 0; t < voices[0].size(); ++t) {
      for (const auto &voice : voices) {
        frames.push_back(voice[t]);
      }
    }
    Write(resampler_.Push(frames));
  }

  // Fills them up to so many samples: there and back again, a few more or less come out of the resampler.
  void Close(int64_t samples) {
    Write(resampler_.Finish(), samples);
    Write(std::vector<float>(static_cast<size_t>(samples - written_) * writers_.size()));
    for (WavWriter &writer : writers_) {
      writer.Close();
    }
  }

  // Samples are no longer than what has come.
  void Limit(int64_t samples) { limit_ = samples; }

  std::string Names() const {
    std::string names;
    for (const fs::path &path : paths_) {
      names += (names.empty() ? "" : " ") + path.string();
    }
    return names;
  }

 private:
  void Write(const std::vector<float> &frames, int64_t limit) {
    limit_ = limit;
    Write(frames);
  }

  void Write(const std::vector<float> &frames) {
    const size_t speakers = writers_.size();
    const auto count = std::min(static_cast<int64_t>(frames.size() / speakers), limit_ - written_);
    for (size_t i = 0; i < speakers; ++i) {
      std::vector<float> samples;
      for (int64_t t = 0; t < count; ++t) {
        samples.push_back(frames[static_cast<size_t>(t) * speakers + i]);
      }
      writers_[i].Write(samples);
    }
    written_ += count;
  }

  Resampler resampler_;
  std::vector<fs::path> paths_;
  std::vector<WavWriter> writers_;
  int64_t written_ = 0;
  int64_t limit_ = 0;
};

volatile std::sig_atomic_t interrupted = 0;

void Interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);  // the second one ends it at once
}

// The end of a live recording is an interrupt: what is read until then is answered.
void TakeInterrupts() {
  struct sigaction action = {};
  action.sa_handler = Interrupt;  // without SA_RESTART: read() returns
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// The next 16-bit samples of standard input; none at its end. `rest`: half a sample.
std::vector<float> ReadSamples(std::string *rest) {
  char bytes[16384];
  std::string content = std::move(*rest);
  rest->clear();
  while (content.size() < sizeof(int16_t)) {
    const ssize_t more = interrupted != 0 ? 0 : read(STDIN_FILENO, bytes, sizeof(bytes));
    if (more < 0 && errno != EINTR) {
      throw UserError(std::string("standard input: cannot be read (") + std::strerror(errno) + ")");
    }
    if (more == 0 || interrupted != 0) {
      return {};
    }
    content.append(bytes, static_cast<size_t>(std::max<ssize_t>(more, 0)));
  }
  std::vector<float> samples(content.size() / sizeof(int16_t));
  for (size_t i = 0; i < samples.size(); ++i) {
    int16_t value = 0;
    std::memcpy(&value, content.data() + i * sizeof(value), sizeof(value));
    samples[i] = static_cast<float>(value) / 32768.0F;
  }
  *rest = content.substr(samples.size() * sizeof(int16_t));
  return samples;
}

Interface ReadStreamingInterface(const Options &options) {
  Interface interface = ReadInterface(options.mindir_path);
  if (interface.streaming.samples == 0 || interface.answer.kind == AnswerKind::Kind::kNone) {
    throw UserError(options.mindir_path + ": --stream takes a graph of export.py --streaming, which this is not");
  }
  return interface;
}
}  // namespace

std::unique_ptr<Answer> MakeLiveAnswer(const Interface &interface, Predict predict, const AnswerSettings &settings,
                                       bool partial, Outlet outlet) {
  if (interface.answer.kind == AnswerKind::Kind::kText) {
    return std::make_unique<LiveText>(interface, std::move(predict), settings, partial, std::move(outlet));
  }
  return std::make_unique<LiveVoices>(interface, std::move(predict), std::move(outlet));
}

int RunStream(const Options &options) {
  const Interface interface = ReadStreamingInterface(options);
  if (isatty(STDIN_FILENO) != 0) {
    throw UserError(
        "standard input: is a terminal, expected raw 16-bit samples, such as those of arecord -t raw -f "
        "S16_LE -c 1");
  }
  const int64_t rate = options.sample_rate > 0 ? options.sample_rate : interface.sample_rate;
  Resampler resampler(rate, interface.sample_rate, 1);
  std::unique_ptr<Wavs> wavs;
  if (interface.answer.kind == AnswerKind::Kind::kVoices) {
    wavs = std::make_unique<Wavs>(options.output_path.empty() ? "separated" : options.output_path,
                                  static_cast<size_t>(interface.outputs[0].shape[1]), interface.sample_rate, rate);
  }
  Session session(options.mindir_path, options.device, interface);
  AnswerSettings settings;
  if (const AnswerKind &kind = interface.answer; kind.kind == AnswerKind::Kind::kText) {
    settings.decode = MakeDecoder(Alphabet(kind.labels, kind.blank, kind.spaced),
                                  {options.beam_width < 0 ? kind.beam_width : options.beam_width, options.lm_path,
                                   options.alpha.value_or(kind.alpha), options.beta.value_or(kind.beta)});
  }
  settings.timestamps = options.timestamps;
  const std::unique_ptr<Answer> answer = MakeLiveAnswer(
      interface, [&](const std::vector<HostTensor> &inputs) { return session.Predict(inputs); }, settings, options.json,
      {[&](const nlohmann::json &result) { PrintText(result, options); },
       [&](const std::vector<std::vector<float>> &voices) { wavs->Add(voices); }});
  char latency[160];
  std::snprintf(latency, sizeof(latency), "listening at %lld Hz; an answer is complete %.2f s after its sound",
                static_cast<long long>(rate),
                static_cast<double>(interface.streaming.Latency()) / static_cast<double>(interface.sample_rate));
  PrintLine("note", latency);
  TakeInterrupts();
  int64_t received = 0;
  std::string rest;
  for (std::vector<float> samples = ReadSamples(&rest); !samples.empty(); samples = ReadSamples(&rest)) {
    received += static_cast<int64_t>(samples.size());
    if (wavs != nullptr) {
      wavs->Limit(received);
    }
    answer->Push(resampler.Push(samples));
  }
  if (received == 0) {
    throw UserError("standard input: holds no samples, expected raw 16-bit samples at " + std::to_string(rate) + " Hz");
  }
  answer->Push(resampler.Finish());
  answer->Finish();
  if (wavs != nullptr) {
    wavs->Close(received);
    std::cout << wavs->Names() << std::endl;
  }
  return 0;
}
