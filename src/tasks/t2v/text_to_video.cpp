#include "tasks/t2v/text_to_video.h"

#include "tasks/official_models.h"

namespace wan {

TextToVideo::TextToVideo()
    : Task({.name = "t2v-A14B",
            .checkpoint = "Wan2.2-T2V-A14B",
            .model_type = "t2v",
            .transformers = {"low_noise_model", "high_noise_model"},
            .vae = VaeKind::kVae21,
            .extends_prompts = true}) {}

ModelDefaults TextToVideo::defaults() const {
  return {.size = {1280, 720},
          .frame_num = 81,
          .fps = 16,
          .sample_solver = "unipc",
          .sample_steps = 40,
          .sample_shift = 12.0,
          .sample_guide_scale = {3.0, 4.0},
          .boundary = 0.875,
          .negative_prompt = kOfficialNegativePrompt};
}

WanConfig TextToVideo::published_transformer() const {
  return official_14b(facts().model_type, 16);
}

void TextToVideo::run(Run& run, const RunInputs&) const {
  run.decode(run.denoise({}));
}

}  // namespace wan
