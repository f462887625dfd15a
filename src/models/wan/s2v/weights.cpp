#include "models/wan/s2v/weights.h"

namespace wan {

void AudioEncoderWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  const std::int64_t dim = config.dim;
  const SpeechConfig& speech = *config.speech;
  at.tensor("weights", layers, {1, speech.audio_layers, 1, 1}, WeightDType::kFloat32);
  const WeightVisitor encoder = at.child("encoder");
  local_in.visit(encoder.child("conv1_local"), speech.audio_dim, dim / 4 * speech.audio_tokens);
  global_in.visit(encoder.child("conv1_global"), speech.audio_dim, dim / 4);
  middle.visit(encoder.child("conv2"), dim / 4, dim / 2);
  last.visit(encoder.child("conv3"), dim / 2, dim);
  global_out.visit(encoder.child("final_linear"), {.in = dim, .out = dim, .dtype = WeightDType::kFloat32});
  encoder.tensor("padding_tokens", padding_token, {1, 1, 1, dim}, WeightDType::kFloat32);
}

PatchSize motion_patch(const WanConfig& config, int pack) {
  return {config.patch[0] << pack, config.patch[1] << pack, config.patch[2] << pack};
}

void SpeechWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  at.tensor("trainable_cond_mask.weight", segments, {3, config.dim}, WeightDType::kFloat32);
  pose.visit(at.child("cond_encoder"), config.speech->pose_dim, config.patch, config.dim);
  constexpr const char* kPacks[] = {"frame_packer.proj", "frame_packer.proj_2x", "frame_packer.proj_4x"};
  for (int pack = 0; pack < 3; ++pack)
    motion[pack].visit(at.child(kPacks[pack]), config.in_dim, motion_patch(config, pack), config.dim);
  audio.visit(at.child("casual_audio_encoder"), config);
}

void AudioInjectorWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  attention.visit(at.child("audio_injector.injector.{i}"), config.dim);
  modulation.visit(at.child("audio_injector.injector_adain_layers.{i}.linear"),
                   {.in = config.dim, .out = 2 * config.dim});
}

}  // namespace wan
