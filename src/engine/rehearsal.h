#pragma once
// RunRehearsal: a whole run's passes on a device that computes nothing, so that what they take is what a run takes.

#include <memory>
#include <optional>
#include <vector>

#include "models/video_vae/plan.h"
#include "ops/counting_backend.h"
#include "parallel/rank_layout.h"
#include "tasks/model_shapes.h"

namespace wan {

/// What of a run decides how much memory it takes, blocks apart.
struct RehearsedRun {
  const ModelShapes& models;
  Backend& backend;       // of the transformers and the VAE
  Backend* text_backend;  // the text encoder's, where it is another; may be nullptr on the CPU
  bool text_apart;        // whether it is
  DType weights;
  DType text_weights;
  Shape latent;                         // [z, F, h, w]
  std::optional<LatentExtent> encodes;  // the clip that images become
  int segments;
  std::int64_t decoded_latents;           // latent frames that are decoded at a time
  std::int64_t speech_samples;            // of the sound; 0 where this rank hears none
  std::vector<std::int64_t> text_tokens;  // of each guidance branch
  int sampler_slots;
  int feed_forward_pieces;
  RankLayout layout = {};  // of ranks that divide the tokens, and the VAE's pictures
  bool packs = false;      // exchanges take memory for what is not contiguous
};

/// Bytes on the device. Blocks' weights are in none of them.
struct RunBytes {
  std::int64_t transformers = 0;   // weights outside of blocks
  std::int64_t text_encoder = 0;   // likewise; 0 where it is apart
  std::int64_t vae = 0;            // weights
  std::int64_t audio_encoder = 0;  // weights outside of blocks
  std::int64_t clip = 0;           // of several: what it is made from, and what the transformer makes of that
  std::int64_t latents = 0;        // sampler's state, predictions, what images became
  std::int64_t context_cache = 0;
  std::int64_t activations = 0;  // beside these while a transformer runs
  std::int64_t text_host = 0;    // peak of the text encoder where it is apart

  // All that is held while images are encoded and frames decoded, the VAE's scratch apart; and the most that is while
  // prompts are encoded and a transformer runs.
  std::int64_t encoding_images = 0;
  std::int64_t decoding = 0;
  std::int64_t encoding_text = 0;
  std::int64_t hearing = 0;  // likewise while the encoders of sound, of faces and of the picture run
  std::int64_t denoising = 0;
};

class RunRehearsal {
 public:
  /// Runs everything but the VAE.
  explicit RunRehearsal(const RehearsedRun& run);
  ~RunRehearsal();

  const RunBytes& bytes() const { return bytes_; }
  /// The ways to encode the images and to decode the video; only where there are images to encode.
  VaePlans& encodes() { return *encodes_; }
  VaePlans& decodes() { return *decodes_; }

 private:
  void rehearse_text_apart(const RehearsedRun& run);
  void rehearse(const RehearsedRun& run);

  std::unique_ptr<WeightReport> vae_report_;
  Rehearsal device_;
  std::unique_ptr<VideoVae> vae_;
  std::optional<VaePlans> encodes_;
  std::optional<VaePlans> decodes_;
  RunBytes bytes_;
};

}  // namespace wan
