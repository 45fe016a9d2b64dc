#include "zoo.h"

#include <stdexcept>

#include "error.h"

namespace {
constexpr size_t kBlock = 65536;  // samples taken from a speaker at a time
}  // namespace

Zoo::Zoo(const Options &options, bool partial) {
  nlohmann::json settings = {{"device_target", options.device.target},
                             {"device_id", options.device.id},
                             {"precision", options.device.precision},
                             {"threads", options.device.threads},
                             {"lm_path", options.lm_path},
                             {"timestamps", options.timestamps},
                             {"partial", partial}};
  if (options.beam_width >= 0) {
    settings["beam_width"] = options.beam_width;
  }
  if (options.alpha) {
    settings["alpha"] = *options.alpha;
  }
  if (options.beta) {
    settings["beta"] = *options.beta;
  }
  handle_.reset(speechzoo_create(options.mindir_path.c_str(), settings.dump().c_str()));
  if (handle_ == nullptr) {
    throw UserError(speechzoo_error(nullptr));
  }
  voices_ = nlohmann::json::parse(speechzoo_describe(handle_.get())).value("voices", size_t{0});
}

void Zoo::Push(const std::vector<float> &samples, Output *output) {
  Check(speechzoo_push(handle_.get(), samples.data(), samples.size()));
  Give(output);
}

void Zoo::Finish(Output *output) {
  Check(speechzoo_finish(handle_.get()));
  Give(output);
}

void Zoo::Check(int code) const {
  if (code == kSpeechzooMistake) {
    throw UserError(speechzoo_error(handle_.get()));
  }
  if (code != kSpeechzooFine) {
    throw std::runtime_error(speechzoo_error(handle_.get()));
  }
}

void Zoo::Give(Output *output) {
  while (voices_ > 0) {
    std::vector<std::vector<float>> voices(voices_, std::vector<float>(kBlock));
    for (size_t i = 0; i < voices_; ++i) {
      voices[i].resize(speechzoo_samples(handle_.get(), static_cast<int>(i), voices[i].data(), kBlock));
    }
    if (voices[0].empty()) {
      break;
    }
    output->AddVoices(voices);
  }
  while (const char *result = speechzoo_result(handle_.get())) {
    output->Add(nlohmann::json::parse(result));
  }
}
