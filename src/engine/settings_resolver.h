#pragma once
// From a request and a checkpoint's defaults to settings, every value checked before anything is loaded.

#include "engine/loaded_models.h"
#include "kept/recovery.h"
#include "kept/saved_latents.h"
#include "pipeline/input_images.h"
#include "wan/request.h"

namespace wan {

/// Everything that a generation needs to know, decided.
struct ResolvedRequest {
  GenerationSettings settings;
  Shape latent;      // [z, F, h, w]
  RunInputs inputs;  // no images where resumed: what they became is kept with the latents
  std::filesystem::path save_file;
  LatentsFile latents;
  std::optional<SavedLatents> resumed;
  std::vector<std::string> notices;  // worth telling before the run
};

/// What of an engine's device and options decides defaults.
struct EngineFacts {
  std::string precision;
  std::string vae_precision;
  Device device;
  CudaLaunchGrid grid;    // of "torch-cuda" without a grid
  std::string lora = {};  // GenerationSettings::lora
};

/// Throws InvalidArgument, Unsupported or BadFile, each in a line that says what would be right. Draws a seed where none is
/// given.
ResolvedRequest resolve_request(const GenerationRequest& request, const CheckpointModels& models,
                                const EngineFacts& engine);

}  // namespace wan
