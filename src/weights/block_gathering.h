#pragma once
// BlockGathering: a rank's way to and from the shards of a residency's groups (weights/block_shards.h).

#include "weights/block_loader.h"

namespace wan {

/// For one thread at a time, apart from give_up().
class BlockGathering {
 public:
  /// `loader` outlives this. `copy` as ResidencyOptions::copy.
  BlockGathering(const BlockLoader& loader, BlockCopy copy) : loader_(loader), copy_(std::move(copy)) {}

  /// Loads this rank's runs of all blocks that are divided, and puts them at the other ranks' disposal once all of them are on the
  /// device. `mark_use` as ResidencyOptions::mark_use; `progress` gets the bytes that are loaded. Throws what loading a block throws.
  void load_shares(const std::function<std::function<void()>()>& mark_use,
                   const std::function<void(std::size_t done)>& progress);
  /// Has the block copied together at `memory`; false where the ranks do not have it. The device has the bytes when this returns.
  bool gather(BlockId id, std::byte* memory) const;
  /// This rank will gather the block no more. From any thread.
  void give_up(BlockId id) noexcept;

 private:
  const BlockLoader& loader_;
  BlockCopy copy_;
};

}  // namespace wan
