#pragma once
// Deciding what lives where before anything is loaded.

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "engine/load_options.h"
#include "parallel/rank_layout.h"
#include "tasks/model_shapes.h"
#include "wan/engine.h"

namespace wan {

/// The CPU beside a device, where the text encoder runs there.
struct TextEncoderHost {
  DType weights;
  std::int64_t available;      // bytes of its memory
  Backend* backend = nullptr;  // whose ops' scratch counts; nullptr: none
};

/// PlanInput::most_places where every block may have a place.
inline constexpr int kAllBlocks = std::numeric_limits<int>::max();

struct PlanInput {
  ModelShapes models;
  Backend& backend;
  Shape latent;  // [z, F, h, w]
  DType weights;
  std::optional<LatentExtent> encodes;  // the clip that images become
  std::string residency;                // "auto", "resident", "streamed"
  std::int64_t memory_limit;            // 0: what the machine has free, and what the backend has given out
  bool keep_models = true;              // blocks stay after their last use
  bool offload_model = false;           // never more blocks on a device than one transformer has
  int most_places = kAllBlocks;  // of blocks that are in memory at a time, unless residency is "resident"
  Sharding sharding = {};        // what ranks may divide at most
  bool encodes_text = true;      // for the other ranks too, which then need no text encoder
  std::optional<TextEncoderHost> text_encoder_host = {};  // empty: it runs where the transformers do
  RankLayout layout = {};                                 // of ranks that divide tokens and pictures
  bool device_groups = false;                             // by which the ranks exchange (DeviceGroup)
  int sharers = 0;  // of them, that divide the memory, on the CPU; 0: all
  /// Tokens of each guidance branch's text; empty: of two branches, as many as the transformers take.
  std::vector<std::int64_t> text_tokens = {};
  int segments = 1;                  // clips; between them the transformers stay
  std::int64_t decoded_latents = 0;  // latent frames that are decoded at a time; 0: the latent's
  std::int64_t speech_samples = 0;   // of the sound, on a rank that hears it
  int sampler_slots = 5;             // Scheduler::slots(); no solver has more
};

struct PlannedRun {
  MemoryPlan plan;
  LoadOptions load;
  VaePlan decode;
  VaePlan encode;  // of PlanInput::encodes
};

/// The first that fits of: all blocks in memory, divided over ranks where that is asked for, or of these as many as fit; the transformers' in memory and
/// the text encoder's through two places; as many of all as have a place, down to two; and whole frames before tiles. A pass of
/// everything that a run does is rehearsed for it (engine/rehearsal.h). Throws OutOfMemory, with the numbers and the member that
/// would help, where nothing fits.
PlannedRun plan_run(const PlanInput& input);

/// Whole frames, and the feed-forward in one piece.
inline bool is_whole(const PlannedRun& run) {
  return run.plan.vae_tile == 0 && run.plan.feed_forward_pieces == 1;
}

/// Ranks that share the VAE's work go the same way: that of the one with the least memory for it.
void share_vae_plans(std::span<PlannedRun> ranks);

}  // namespace wan
