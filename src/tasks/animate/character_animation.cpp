#include "tasks/animate/character_animation.h"

#include "tasks/animate/animation_loop.h"
#include "tasks/official_models.h"

namespace wan {

CharacterAnimation::CharacterAnimation()
    : Task({.name = "animate-14B",
            .checkpoint = "Wan2.2-Animate-14B",
            .model_type = "animate",
            .transformers = {"."},
            .vae = VaeKind::kVae21,
            .takes_source = true,
            .usual_prompt = "视频中的人在做动作"}) {}

ModelDefaults CharacterAnimation::defaults() const {
  return {.size = {1280, 720},
          .frame_num = 77,
          .fps = 30,
          .sample_solver = "unipc",
          .sample_steps = 20,
          .sample_shift = 5.0,
          .sample_guide_scale = {1.0, 1.0},
          .boundary = std::nullopt,
          .negative_prompt = kOfficialNegativePrompt};
}

WanConfig CharacterAnimation::published_transformer() const {
  WanConfig config = official_14b(facts().model_type, 36);
  config.animate = AnimateConfig{.pose_dim = 16,
                                 .image_dim = 1280,
                                 .motion_dim = 512,
                                 .motion_directions = 20,
                                 .motion_layers = 5,
                                 .face_channels = {32, 64, 128, 256, 512, 512, 512, 512},
                                 .face_dim = 1024,
                                 .face_heads = 4};
  return config;
}

std::int64_t CharacterAnimation::condition_channels(const VaeGeometry& vae) const {
  return AnimateChannels::kMask + vae.z_dim;
}

Shape CharacterAnimation::condition_shape(const VaeGeometry& vae, const Shape& latent) const {
  return {condition_channels(vae) + vae.z_dim + 1, latent[1], latent[2], latent[3]};
}

std::int64_t CharacterAnimation::segment_latents(const VaeGeometry& vae, int frames) const {
  return 1 + vae.latent_frames(frames);
}

std::int64_t CharacterAnimation::decoded_latents(std::int64_t segment) const {
  return segment - 1;
}

void CharacterAnimation::run(Run& run, const RunInputs&) const {
  AnimationLoop clips(run);
  while (run.segment() < run.segments()) clips.make();
}

}  // namespace wan
