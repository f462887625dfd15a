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

struct LoadOptions {
  struct Blocks {
    DType weights;  // f32 or bf16
    ResidencyOptions residency;
  };
  DType weights;  // likewise
  ResidencyOptions residency;
  int feed_forward_pieces = 1;  // WanTransformer::set_feed_forward_pieces
  /// The text encoder's, where it is on the CPU beside a device; empty: with the transformers.
  std::optional<Blocks> text_encoder_host;

  DType text_weights() const { return text_encoder_host ? text_encoder_host->weights : weights; }
};

}  // namespace wan
