#include "speechzoo.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "answer.h"
#include "error.h"
#include "graph.h"
#include "interface.h"
#include "live.h"
#include "resample.h"
#include "session.h"

namespace {
thread_local std::string creation_error;

struct Settings {
  AnswerSettings answer;
  DecoderSettings decoder;
};

Settings ReadSettings(const char *text, const AnswerKind &kind) {
  Settings settings;
  settings.decoder = {kind.beam_width, "", kind.alpha, kind.beta};
  const nlohmann::json json = nlohmann::json::parse(text == nullptr ? "{}" : text);
  for (const auto &[name, value] : json.items()) {
    if (name == "device_target") {
      settings.answer.device.target = value;
    } else if (name == "device_id") {
      settings.answer.device.id = value;
    } else if (name == "precision") {
      settings.answer.device.precision = value;
    } else if (name == "threads") {
      settings.answer.device.threads = value;
    } else if (name == "beam_width") {
      settings.decoder.beam_width = value;
    } else if (name == "lm_path") {
      settings.decoder.lm_path = value;
    } else if (name == "alpha") {
      settings.decoder.alpha = value;
    } else if (name == "beta") {
      settings.decoder.beta = value;
    } else if (name == "timestamps") {
      settings.answer.timestamps = value;
    } else if (name == "partial") {
      settings.answer.partial = value;
    } else {
      throw UserError("settings: found '" + name + "', which is none; see speechzoo.h");
    }
  }
  return settings;
}

AnswerSettings CheckedSettings(const char *text, const Interface &interface) {
  const AnswerKind &kind = interface.answer;
  try {
    Settings settings = ReadSettings(text, kind);
    CheckDevice(settings.answer.device);
    if (settings.decoder.beam_width < 0) {
      throw UserError("settings: beam_width is " + std::to_string(settings.decoder.beam_width) +
                      ", expected 0 or more");
    }
    if (settings.answer.partial && interface.streaming.samples == 0) {
      throw UserError(
          "settings: partial: found with a graph of whole recordings, expected one of export.py --streaming");
    }
    if (kind.kind == AnswerKind::Kind::kText) {
      settings.answer.decode = MakeDecoder(Alphabet(kind.labels, kind.blank, kind.spaced), settings.decoder);
    }
    return settings.answer;
  } catch (const nlohmann::json::exception &error) {
    throw UserError(std::string("settings: no JSON object of what speechzoo.h lists (") + error.what() + ")");
  }
}

// The line for what a call threw, which is being handled.
int Describe(std::string *line) {
  try {
    throw;
  } catch (const UserError &error) {
    *line = error.what();
    return kSpeechzooMistake;
  } catch (const std::bad_alloc &) {
    *line = "not enough memory";
    return kSpeechzooMistake;
  } catch (const std::exception &error) {
    *line = std::string("a defect of this program (") + error.what() + "); please report it with this line";
  } catch (...) {
    *line = "a defect of this program; please report it";
  }
  return kSpeechzooDefect;
}
}  // namespace

struct speechzoo {
  speechzoo(const char *path, const char *text)
      : interface(ReadAnswering(path)),
        settings(CheckedSettings(text, interface)),
        description(Describe(interface).dump()),
        session(path, settings.device, interface),
        graph(&session, interface) {}

  void Start(int64_t rate, int64_t length) {
    answer.reset();
    results.clear();
    voices.assign(interface.answer.kind == AnswerKind::Kind::kVoices ? interface.outputs[0].shape[1] : 0, {});
    const int64_t own = interface.sample_rate;
    if (rate < 1 || length < 0) {
      throw UserError(std::to_string(length) + " samples at " + std::to_string(rate) +
                      " Hz, expected 0 or more at 1 Hz or more");
    }
    forward.emplace(rate, own, 1);
    backward.emplace(own, rate, std::max<size_t>(1, voices.size()));
    received = given = 0;
    const auto expected =
        static_cast<int64_t>(static_cast<double>(length) * static_cast<double>(own) / static_cast<double>(rate) + 0.5);
    Outlet outlet = {[this](const nlohmann::json &json) { results.push_back(json.dump()); },
                     [this](const std::vector<std::vector<float>> &samples) { Give(samples); }};
    if (interface.streaming.samples > 0) {
      const auto predict = [this](const std::vector<HostTensor> &inputs) { return session.Predict(inputs); };
      answer = MakeLiveAnswer(interface, predict, settings, std::move(outlet));
    } else {
      answer = MakeAnswer(interface, &graph, settings, expected, std::move(outlet));
    }
  }

  void Push(const float *samples, size_t count) {
    Answer *started = Started();
    received += count;
    started->Push(forward->Push(std::vector<float>(samples, samples + count)));
  }

  void Finish() {
    Answer *started = Started();
    started->Push(forward->Finish());
    started->Finish();
    Keep(backward->Finish());
    for (std::vector<float> &voice : voices) {  // there and back again, a few samples more or less come out
      voice.resize(voice.size() + (received - given));
    }
    answer.reset();
  }

  // Takes the next samples of the speakers, at the graph's rate.
  void Give(const std::vector<std::vector<float>> &samples) {
    std::vector<float> frames;
    for (size_t place = 0; place < samples[0].size(); ++place) {
      for (const std::vector<float> &speaker : samples) {
        frames.push_back(speaker[place]);
      }
    }
    Keep(backward->Push(frames));
  }

  // Keeps the next samples of the speakers, those of one time together, up to the length of the recording.
  void Keep(const std::vector<float> &frames) {
    const size_t count = voices.empty() ? 0 : std::min(frames.size() / voices.size(), received - given);
    for (size_t i = 0; i < count * voices.size(); ++i) {
      voices[i % voices.size()].push_back(frames[i]);
    }
    given += count;
  }

  Answer *Started() {
    if (answer == nullptr) {
      throw UserError("no recording has been started; call speechzoo_start()");
    }
    return answer.get();
  }

  const Interface interface;
  const AnswerSettings settings;
  const std::string description;
  Session session;
  WaveformGraph graph;  // where it is none of steps
  std::unique_ptr<Answer> answer;
  std::optional<Resampler> forward;   // to the graph's rate
  std::optional<Resampler> backward;  // the speakers
  size_t received = 0;                // samples of the recording
  size_t given = 0;                   // of each speaker
  std::deque<std::string> results;
  std::vector<std::vector<float>> voices;
  std::string result;  // that was taken last
  std::string error;
};

namespace {
// Calls `function`; a recording that failed is over.
template <typename Function>
int Guarded(speechzoo *zoo, const Function &function) {
  try {
    function();
    return kSpeechzooFine;
  } catch (...) {
    zoo->answer.reset();
    return Describe(&zoo->error);
  }
}
}  // namespace

speechzoo *speechzoo_create(const char *graph, const char *settings) {
  try {
    const std::string path = graph;
    try {
      return new speechzoo(graph, settings);
    } catch (const UserError &error) {
      const std::string line = error.what();
      throw UserError(line.find(path) == 0 || line.find("inputs.json") != std::string::npos ? line
                                                                                            : path + ": " + line);
    }
  } catch (...) {
    Describe(&creation_error);
    return nullptr;
  }
}

const char *speechzoo_describe(const speechzoo *zoo) { return zoo->description.c_str(); }

int speechzoo_start(speechzoo *zoo, int64_t rate, int64_t length) {
  return Guarded(zoo, [&] { zoo->Start(rate, length); });
}

int speechzoo_push(speechzoo *zoo, const float *samples, size_t count) {
  return Guarded(zoo, [&] { zoo->Push(samples, count); });
}

int speechzoo_finish(speechzoo *zoo) {
  return Guarded(zoo, [&] { zoo->Finish(); });
}

const char *speechzoo_result(speechzoo *zoo) {
  if (zoo->results.empty()) {
    return nullptr;
  }
  zoo->result = std::move(zoo->results.front());
  zoo->results.pop_front();
  return zoo->result.c_str();
}

size_t speechzoo_samples(speechzoo *zoo, int speaker, float *samples, size_t room) {
  if (speaker < 0 || static_cast<size_t>(speaker) >= zoo->voices.size()) {
    return 0;
  }
  std::vector<float> &waiting = zoo->voices[static_cast<size_t>(speaker)];
  const size_t taken = std::min(room, waiting.size());
  std::copy_n(waiting.begin(), taken, samples);
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
  return taken;
}

const char *speechzoo_error(const speechzoo *zoo) {
  return zoo == nullptr ? creation_error.c_str() : zoo->error.c_str();
}

void speechzoo_free(speechzoo *zoo) { delete zoo; }
