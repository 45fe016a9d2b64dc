#include "voices.h"

#include <nlohmann/json.hpp>
#include <utility>

VoicesAnswer::VoicesAnswer(const Interface &interface, WaveformGraph *graph, Outlet outlet)
    : graph_(graph),
      outlet_(std::move(outlet)),
      level_(static_cast<size_t>(interface.outputs[0].shape[1])),
      speakers_(static_cast<size_t>(interface.outputs[0].shape[1])),
      stride_(static_cast<size_t>(interface.wav_multiple)),
      windows_([this](const std::vector<float> &mixture) { return Run(mixture); }, interface.answer.window,
               interface.answer.overlap, interface.wav_multiple,
               [this](const std::vector<float> &mixture, const Signals &speakers) {
                 level_.Add(mixture, speakers);
                 outlet_.voices(speakers);
               }) {}

void VoicesAnswer::Push(const std::vector<float> &samples) { windows_.Push(samples); }

void VoicesAnswer::Finish() {
  windows_.Finish();
  outlet_.result({{"gains", level_.Gains()}, {"decibels", level_.Decibels()}});
}

Signals VoicesAnswer::Run(const std::vector<float> &mixture) {
  std::vector<float> filled = mixture;
  if (!graph_->TakesFewer()) {
    // as in Python zeros up to a whole stride; what is repeated is that
    filled.resize((mixture.size() + stride_ - 1) / stride_ * stride_);
    const size_t whole = filled.size();
    for (size_t i = 0; whole > 0 && static_cast<int64_t>(filled.size()) < graph_->Longest(); ++i) {
      filled.push_back(filled[i % whole]);
    }
  }
  const std::vector<float> flat = std::move(graph_->Run(filled)[0]);  // (speakers, samples)
  RequireSize(flat.size(), speakers_, filled.size());
  Signals speakers;
  for (size_t i = 0; i < speakers_; ++i) {
    const auto first = flat.begin() + static_cast<std::ptrdiff_t>(i * filled.size());
    speakers.emplace_back(first, first + static_cast<std::ptrdiff_t>(mixture.size()));
  }
  return speakers;
}
