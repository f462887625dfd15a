#include "tasks/model_shapes.h"

#include "tasks/official_models.h"

namespace wan {

ModelShapes official_shapes(const Task& task, const VaePrecision& precision) {
  return {
      .transformers = std::vector<WanConfig>(task.facts().transformers.size(), task.published_transformer()),
      .text_encoder = official_text_encoder(),
      .vae = official_vae(task),
      .vae_precision = precision,
      .audio_encoder = task.facts().takes_sound ? std::optional(official_audio_encoder()) : std::nullopt,
      .image_encoder = task.facts().takes_source ? std::optional(published_clip_config()) : std::nullopt};
}

}  // namespace wan
