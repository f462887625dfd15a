#include "tasks/model_shapes.h"

#include "models/umt5/weights.h"
#include "models/wan/weights.h"
#include "tasks/official_models.h"

namespace wan {

BlockLayout ModelShapes::transformer_layout(std::size_t index) const {
  BlockLayout layout = wan_block_layout(transformers[index]);
  if (index < packed_transformers.size()) layout.packed = packed_transformers[index];
  return layout;
}

BlockLayout ModelShapes::text_encoder_layout() const {
  BlockLayout layout = umt5_block_layout(text_encoder);
  layout.packed = packed_text_encoder;
  return layout;
}

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
