#pragma once
// How models are held in memory, and what a plan and the loading must agree on.

#include <optional>

#include "ops/backend.h"
#include "weights/block_residency.h"

namespace wan {

/// Activations stay in f32 on the CPU, whatever the weights' dtype; a device has them in the weights'.
inline DType compute_dtype(const Backend& backend, DType weights) {
  return backend.device().kind == DeviceKind::kCpu ? DType::kF32 : weights;
}

/// What of the blocks the ranks of this process divide among themselves: each keeps an equal part of such a block on its device.
struct Sharding {
  int ranks = 1;               // 1: nothing
  int transformer_blocks = 0;  // of each transformer
  bool text_encoder = false;   // all of its blocks
  friend bool operator==(const Sharding&, const Sharding&) = default;
};

/// Layers of an audio or image encoder, which a video needs once, for seconds.
inline const ResidencyOptions kEncoderPlaces{
    .kind = ResidencyKind::kStreamed, .keep = false, .places = 2, .threads = 0};

struct LoadOptions {
  struct Blocks {
    DType weights;  // f32 or bf16
    ResidencyOptions residency;
  };
  DType weights;  // likewise
  ResidencyOptions residency;
  Sharding sharding = {};
  int feed_forward_pieces = 1;       // WanTransformer::set_feed_forward_pieces
  bool encodes_text = true;          // one rank does, for all
  bool text_through_places = false;  // the text encoder's blocks, beside transformers' that are resident
  /// The text encoder's, where it is on the CPU beside a device; empty: with the transformers.
  std::optional<Blocks> text_encoder_host;

  /// Two of its own, through which its blocks come, because ranks divide them or there is no room for all; where the transformers'
  /// blocks come through places, those are the text encoder's too.
  bool text_encoder_has_places() const {
    return residency.kind == ResidencyKind::kResident && (sharding.text_encoder || text_through_places);
  }
  ResidencyOptions text_places() const {
    return {.kind = ResidencyKind::kStreamed, .keep = residency.keep, .places = 2, .threads = 0};
  }
  /// Or a share of its blocks, for the one that encodes.
  bool has_text_encoder() const { return encodes_text || sharding.text_encoder; }
  DType text_weights() const { return text_encoder_host ? text_encoder_host->weights : weights; }
};

}  // namespace wan
