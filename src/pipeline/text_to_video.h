#pragma once
// Text to video: the order of the steps, and nothing else.

#include <filesystem>

#include "pipeline/decode.h"
#include "pipeline/denoise.h"
#include "pipeline/saved_latents.h"

namespace wan {

struct TextToVideoModels {
  const Tokenizer& tokenizer;
  const Umt5Encoder& text_encoder;
  int text_encoder_group;  // of the residency
  Experts experts;
  BlockResidency& residency;
  const VideoVae& vae;
};

struct TextToVideoOutput {
  std::filesystem::path save_file;
  std::filesystem::path latents_file;  // where the latents go before they are decoded
  bool keep_latents = false;           // otherwise removed once the video is whole
};

/// Makes the video of run.settings. `resumed`: an earlier run's latents, to go on from. On Cancelled and on failures
/// after the first step, what was reached is kept in output.latents_file, and the message says how to go on.
void text_to_video(const RunContext& run, const TextToVideoModels& models, const VaePlan& vae_plan,
                   const Shape& latent, const TextToVideoOutput& output, const SavedLatents* resumed);

}  // namespace wan
