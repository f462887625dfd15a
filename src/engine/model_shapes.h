#pragma once
// ModelShapes: the dimensions of a checkpoint's models, which tell what they take in memory. No file is needed for them.

#include <vector>

#include "engine/load_options.h"
#include "engine/vae_factory.h"
#include "models/umt5/umt5_encoder.h"
#include "models/wan/transformer.h"
#include "tasks/task.h"

namespace wan {

struct ModelShapes {
  std::vector<WanConfig> transformers;  // by Expert; one where there is one transformer
  Umt5Config text_encoder;
  VaeConfig vae;
  VaePrecision vae_precision;
};

/// Of the task's published models.
ModelShapes official_shapes(const Task& task, const VaePrecision& precision);

/// Memory of the blocks, for a plan. Streamed ones share their places, which are counted with the transformers.
struct ResidencyBytes {
  std::size_t transformers = 0;
  std::size_t text_encoder = 0;
  std::size_t text_encoder_host = 0;  // on the CPU beside a device
  /// On the device.
  std::size_t all() const { return transformers + text_encoder; }
};
ResidencyBytes planned_residency_bytes(const ModelShapes& models, const LoadOptions& options);

}  // namespace wan
