#pragma once
// What blocks take in memory, by how they are held.

#include "engine/load_options.h"
#include "tasks/model_shapes.h"

namespace wan {

/// A rank's part in the blocks that ranks divide, by model.
struct ModelShares {
  std::vector<BlockShare> transformers;
  BlockShare text_encoder;
  /// Whole blocks of the transformers are read once for `ranks` of them, into memory of this allocator.
  void read_once(int ranks, Allocator& allocator);
  /// Such a rank reads none of them.
  void reads_nothing(int rank) const;
  /// Another rank's part in the same blocks.
  ModelShares of(int rank) const;
};
/// The first rank's; nothing is in them yet.
ModelShares make_shares(const ModelShapes& models, const Sharding& sharding);

/// Memory of the blocks, for a plan. Streamed ones share their places, which are counted with the transformers; a rank's shares are
/// counted with their model, as large as the first rank's.
struct ResidencyBytes {
  std::size_t transformers = 0;
  std::size_t text_encoder = 0;
  std::size_t text_encoder_host = 0;  // on the CPU beside a device
  /// On the device.
  std::size_t all() const { return transformers + text_encoder; }
};
ResidencyBytes planned_residency_bytes(const ModelShapes& models, const LoadOptions& options);
/// Of the transformers' bytes those of what LoRAs add to packed weights.
std::size_t planned_addition_bytes(const ModelShapes& models, const LoadOptions& options);

}  // namespace wan
