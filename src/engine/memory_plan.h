#pragma once
// Deciding what lives where before anything is loaded.

#include "engine/loaded_models.h"
#include "wan/engine.h"

namespace wan {

/// The CPU beside a device, where the text encoder runs there.
struct TextEncoderHost {
  DType weights;
  std::int64_t available;  // bytes of its memory
};

struct PlanInput {
  const CheckpointModels& models;
  const Backend& backend;
  Shape latent;  // [z, F, h, w]
  DType weights;
  std::optional<LatentExtent> encodes;  // the clip that images become
  std::string residency;                // "auto", "resident", "streamed"
  std::int64_t memory_limit;            // 0: what the machine has free
  bool keep_models = true;              // blocks stay after their last use
  bool offload_model = false;           // never more blocks on a device than one transformer has
  std::optional<TextEncoderHost> text_encoder_host = {};  // empty: it runs where the transformers do
};

struct PlannedRun {
  MemoryPlan plan;
  LoadOptions load;
  VaePlan decode;
  VaePlan encode;  // of PlanInput::encodes
};

/// Throws OutOfMemory, with the numbers and the option that would help, where nothing fits.
PlannedRun plan_run(const PlanInput& input);

}  // namespace wan
