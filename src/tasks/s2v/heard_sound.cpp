#include "tasks/s2v/heard_sound.h"

#include <algorithm>

#include "models/wan/s2v/audio_encoder.h"
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
                       const SpeechSettings& settings, std::vector<double> shares)
    : run_(run), clips_(settings.clips), shares_(std::move(shares)) {
  const Wav2Vec2& encoder = *models.audio_encoder;
  shape_ = {encoder.config().dim, settings.clip_frames};
  if (run.exec.communicator.rank() != 0) return;
  models.audio_residency->set_schedule(encoder.schedule());
  hear(encoder, samples);
}

void HeardSound::hear(const Wav2Vec2& encoder, std::span<const float> samples) {
  const std::int64_t layers = encoder.state_count();
  const std::int64_t dim = shape_[0];
  const std::int64_t frames = shape_[1];
  PhaseReporter phase(run_.on_event, Phase::kAudio, layers);
  SelfCommunicator alone;
  ExecContext exec{.backend = run_.exec.backend,
                   .workspace = run_.exec.workspace,
                   .communicator = alone,
                   .taps = run_.exec.taps,
                   .cancelled = run_.exec.cancelled,
                   .check = run_.exec.check,
                   .flops = run_.exec.flops};
  const std::int64_t states = encoder.config().states(static_cast<std::int64_t>(samples.size()));
  const std::int64_t count = speech_feature_count(states);
  const bool dumps = run_.dump != nullptr;
  const Tensor hidden = dumps ? Tensor(DType::kF32, {layers, states, dim}) : Tensor();
  const Tensor features = dumps ? Tensor(DType::kF32, {layers, count, dim}) : Tensor();
  // A dump has what all clips of the sound would hear.
  const std::int64_t clips =
      dumps ? std::max<std::int64_t>(clips_, speech_clip_count(count, run_.settings.fps, frames)) : clips_;
  embedding_ = dumps ? Tensor(DType::kF32, {layers, dim, clips * frames}) : Tensor();
  heard_ = Tensor(DType::kF32, {dim, clips * frames});
  std::fill_n(heard_.as<float>(), heard_.elements(), 0.0f);
  const Tensor state(DType::kF32, {1, states, dim});
  const Tensor picked(DType::kF32, {1, dim, clips * frames});
  encoder.encode(exec, samples, [&](std::int64_t layer, const TensorView& on_device) {
    run_.exec.backend.download(on_device, state.view().select(0, 0));
    pick_speech_features(state, run_.settings.fps, picked);
    add_audio_layer(picked, shares_[static_cast<std::size_t>(layer)], heard_);
    if (dumps) {
      const Tensor at_feature_rate = interpolate_states(state);
      std::copy_n(state.as<float>(), state.elements(), hidden.as<float>() + layer * state.elements());
      std::copy_n(at_feature_rate.as<float>(), at_feature_rate.elements(),
                  features.as<float>() + layer * at_feature_rate.elements());
      std::copy_n(picked.as<float>(), picked.elements(), embedding_.as<float>() + layer * picked.elements());
    }
    phase.progress(layer + 1);
  });
  run_.exec.workspace.release();  // the passes that follow take other memory
  if (dumps) {
    dump_samples(run_, "audio_samples", samples);
    dump_samples(run_, "audio_normalized", normalize_speech(samples));
    dump(run_, "audio_hidden", hidden);
    dump(run_, "audio_features", features);
    dump(run_, "audio_embedding", embedding_);
  }
  phase.finish();
}

Tensor HeardSound::part(const TensorView& x, int clip) const {
  const std::int64_t frames = shape_[1];
  Tensor columns(DType::kF32, x.rank() == 3 ? Shape{x.dim(0), x.dim(1), frames} : Shape{x.dim(0), frames});
  const std::int64_t all = x.dim(x.rank() - 1);
  for (std::int64_t row = 0; row < columns.elements() / frames; ++row)
    std::copy_n(x.as<float>() + row * all + clip * frames, frames, columns.as<float>() + row * frames);
  return columns;
}

Tensor HeardSound::clip(int index) const {
  Tensor device(run_.exec.backend.allocator(), DType::kF32, shape_);
  if (run_.exec.communicator.rank() == 0) run_.exec.backend.upload(part(heard_, index), device);
  run_.exec.communicator.broadcast(device, 0);
  return device;
}

void HeardSound::dump_clip(int index) const {
  if (run_.dump != nullptr && !embedding_.empty()) dump(run_, "audio_input", part(embedding_, index));
}

}  // namespace wan
