#pragma once
// BlockShards: the blocks of one model, divided over the ranks of this process. Each keeps a run of every block's bytes in the memory
// of its device, and copies the other ranks' runs out of theirs when it wants a whole block: no rank waits for another to do so.

#include <memory>
#include <mutex>
#include <vector>

#include "parallel/partition.h"
#include "tensor/buffer.h"
#include "weights/common_blocks.h"

namespace wan {

/// Thread-safe.
class BlockShards {
 public:
  using Piece = std::shared_ptr<const Buffer>;

  /// Of the model's `count` blocks so many are `divided`, spread evenly over them; the others come from the checkpoint.
  BlockShards(int ranks, int count, int divided);

  int ranks() const { return ranks_; }
  bool divides(int block) const;
  /// The run of a block of `bytes` that `rank` keeps: whole cache lines, sizes of different ranks differing by one at most.
  Range run_of(std::size_t bytes, int rank) const;

  /// The rank's run of a block, which is on its device by now.
  void put(int block, int rank, Buffer piece);
  /// By rank; nothing unless every rank's is there. Their memory stays for as long as the caller has them.
  std::vector<Piece> pieces(int block) const;
  /// The rank needs the block no more. Its pieces go when no rank does.
  void give_up(int block, int rank) noexcept;

 private:
  struct Block {
    std::vector<Piece> pieces;   // by rank
    std::vector<bool> given_up;  // likewise
  };

  int ranks_;
  int divided_;
  mutable std::mutex mutex_;
  std::vector<Block> blocks_;
};

/// A rank's part in a model's blocks.
struct BlockShare {
  std::shared_ptr<BlockShards> shards = nullptr;  // none: every block comes whole, from the checkpoint
  int rank = 0;
  std::shared_ptr<CommonBlocks> common =
      nullptr;    // through which whole blocks come; none: each rank reads them
  int model = 0;  // among those of `common`
};

}  // namespace wan
