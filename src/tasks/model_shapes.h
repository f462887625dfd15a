#pragma once
// ModelShapes: the dimensions of a checkpoint's models, which tell what they take in memory. No file is needed for them.

#include <optional>
#include <vector>

#include "models/clip/config.h"
#include "models/umt5/umt5_encoder.h"
#include "models/video_vae/streamed_vae.h"
#include "models/wan/config.h"
#include "models/wav2vec2/config.h"
#include "tasks/task.h"
#include "tasks/vae_config.h"
#include "weights/block_layout.h"

namespace wan {

struct ModelShapes {
  std::vector<WanConfig> transformers;  // by Expert; one where there is one transformer
  Umt5Config text_encoder;
  VaeConfig vae;
  VaePrecision vae_precision;
  std::optional<Wav2Vec2Config> audio_encoder = {};  // of tasks that take sound
  std::optional<ClipConfig> image_encoder = {};      // of tasks whose transformers attend to an image
  // What of their blocks a checkpoint has packed: of each transformer, or none; of the text encoder.
  std::vector<PackedWeights> packed_transformers = {};
  PackedWeights packed_text_encoder = {};
  // What merging LoRAs takes of the host's memory on each thread that loads.
  std::size_t lora_staging = 0;

  BlockLayout transformer_layout(std::size_t index) const;
  BlockLayout text_encoder_layout() const;
};

/// The shapes of the task's published models.
ModelShapes official_shapes(const Task& task, const VaePrecision& precision);

}  // namespace wan
