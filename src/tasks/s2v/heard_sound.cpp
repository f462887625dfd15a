#include "tasks/s2v/heard_sound.h"

#include <algorithm>

#include "base/error.h"
#include "models/wav2vec2/speech_features.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

void dump(const RunContext& run, const char* name, const TensorView& host) {
  run.dump->floats(name, {host.as<float>(), static_cast<std::size_t>(host.elements())},
                   host.shape().extents());
}

void dump_samples(const RunContext& run, const char* name, std::span<const float> samples) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(samples.size())};
  run.dump->floats(name, samples, shape);
}

}  // namespace

HeardSound::HeardSound(const RunContext& run, const PipelineModels& models, std::span<const float> samples,
                       const SpeechSettings& settings)
    : run_(run), clips_(settings.clips) {
  const Wav2Vec2& encoder = *models.audio_encoder;
  shape_ = {encoder.state_count(), encoder.config().dim, settings.clip_frames};
  if (run.exec.communicator.rank() != 0) return;
  models.audio_residency->set_schedule(encoder.schedule());
  hear(encoder, samples);
}

void HeardSound::hear(const Wav2Vec2& encoder, std::span<const float> samples) {
  const std::int64_t layers = shape_[0];
  const std::int64_t dim = shape_[1];
  const std::int64_t frames = shape_[2];
  PhaseReporter phase(run_.on_event, Phase::kAudio, layers);
  SelfCommunicator alone;
  ExecContext exec{.backend = run_.exec.backend,
                   .workspace = run_.exec.workspace,
                   .communicator = alone,
                   .taps = run_.exec.taps,
                   .cancelled = run_.exec.cancelled,
                   .check = run_.exec.check,
                   .flops = run_.exec.flops};
  for (int clip = 0; clip < clips_; ++clip) of_.emplace_back(DType::kF32, shape_);
  const std::int64_t states = encoder.config().states(static_cast<std::int64_t>(samples.size()));
  const std::int64_t count = speech_feature_count(states);
  const bool dumps = run_.dump != nullptr;
  const Tensor hidden = dumps ? Tensor(DType::kF32, {layers, states, dim}) : Tensor();
  const Tensor features = dumps ? Tensor(DType::kF32, {layers, count, dim}) : Tensor();
  // A dump has what all clips of the sound would hear.
  const std::int64_t clips =
      dumps ? std::max<std::int64_t>(clips_, speech_clip_count(count, run_.settings.fps, frames)) : clips_;
  const Tensor embedding = dumps ? Tensor(DType::kF32, {layers, dim, clips * frames}) : Tensor();
  const Tensor state(DType::kF32, {1, states, dim});
  const Tensor heard(DType::kF32, {1, dim, clips * frames});
  encoder.encode(exec, samples, [&](std::int64_t layer, const TensorView& on_device) {
    run_.exec.backend.download(on_device, state.view().select(0, 0));
    pick_speech_features(state, run_.settings.fps, heard);
    for (int clip = 0; clip < clips_; ++clip)
      for (std::int64_t channel = 0; channel < dim; ++channel)
        std::copy_n(heard.as<float>() + (channel * clips + clip) * frames, frames,
                    of_[static_cast<std::size_t>(clip)].as<float>() + (layer * dim + channel) * frames);
    if (dumps) {
      const Tensor at_feature_rate = interpolate_states(state);
      std::copy_n(state.as<float>(), state.elements(), hidden.as<float>() + layer * state.elements());
      std::copy_n(at_feature_rate.as<float>(), at_feature_rate.elements(),
                  features.as<float>() + layer * at_feature_rate.elements());
      std::copy_n(heard.as<float>(), heard.elements(), embedding.as<float>() + layer * heard.elements());
    }
    phase.progress(layer + 1);
  });
  run_.exec.workspace.release();  // the passes that follow take other memory
  if (dumps) {
    dump_samples(run_, "audio_samples", samples);
    dump_samples(run_, "audio_normalized", normalize_speech(samples));
    dump(run_, "audio_hidden", hidden);
    dump(run_, "audio_features", features);
    dump(run_, "audio_embedding", embedding);
  }
  phase.finish();
}

Tensor HeardSound::clip(int index) const {
  Tensor device(run_.exec.backend.allocator(), DType::kF32, shape_);
  if (run_.exec.communicator.rank() == 0)
    run_.exec.backend.upload(of_[static_cast<std::size_t>(index)], device);
  run_.exec.communicator.broadcast(device, 0);
  return device;
}

}  // namespace wan
