#pragma once
// Deciding what lives where before anything is loaded.

#include "engine/loaded_models.h"
#include "wan/engine.h"

namespace wan {

struct PlanInput {
  const CheckpointModels& models;
  const Vae21& vae;  // describing: knows its scratch
  Backend& backend;
  Shape latent;  // [z, F, h, w]
  DType weights;
  std::string residency;      // "auto", "resident", "streamed"
  std::int64_t memory_limit;  // 0: what the machine has free
};

struct PlannedRun {
  MemoryPlan plan;
  LoadOptions load;
  VaePlan vae;
};

/// Throws OutOfMemory, with the numbers and the option that would help, where nothing fits.
PlannedRun plan_run(const PlanInput& input);

}  // namespace wan
