#pragma once
// BlockLayout: the weights of one transformer block, the same for every block of a model but for what some have besides; and
// where they lie in one piece of memory.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weights/block_shards.h"
#include "weights/leased_weights.h"
#include "weights/weight_scope.h"

namespace wan {

/// How a weight is held that stays packed.
struct PackedWeight {
  std::optional<DType> dtype;  // empty: it does not
  std::int64_t rank = 0;       // of what is added to it when it is unpacked; 0: nothing
};
/// Of each block's weights, in a lease's order; empty: none of a model's is packed.
using PackedWeights = std::vector<std::vector<PackedWeight>>;

struct BlockLayout {
  /// Below the scope; "{i}" stands for the block's index: "blocks.{i}.".
  std::string prefix;
  /// The order in which a lease gives the block's weights.
  std::vector<WeightSpec> weights;
  /// What some blocks have besides, after their weights: names of a whole checkpoint, below the scope, where "{i}" stands for the
  /// block's place among `extra_blocks`.
  std::vector<WeightSpec> extra_weights = {};
  std::vector<int> extra_blocks = {};
  PackedWeights packed = {};

  /// Of a block's weights, in a lease's order, as they are called below the scope: "blocks.7.ffn.0.weight".
  std::vector<WeightSpec> block_weights(int index) const;
  /// Weights of a block.
  std::size_t count(int index) const;
  /// Whether anything is added to weights of the block when they are unpacked.
  bool has_additions(int index) const;
  /// What the weight of a block is held in.
  DType dtype(int index, std::size_t weight, DType compute_dtype) const;
};

/// The layout, with what the checkpoint has in packed matrices of kCompute held packed, in `count` blocks, and beside them the factors of what
/// a change adds; but for those whose change has no factors.
BlockLayout with_packed(BlockLayout layout, const WeightScope& scope, int count);
/// The same, of weights to which nothing is added.
PackedWeights without_additions(PackedWeights packed);

/// Bytes of a block in device memory, each weight aligned to 64 bytes: what a memory plan counts.
std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype, int index);
/// Of any block: the most.
std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype);

/// The views of a block whose memory begins at `memory`, in a lease's order.
std::vector<TensorView> block_views(const BlockLayout& layout, DType compute_dtype, int index,
                                    std::byte* memory, Device device);
/// Of what is added to each of them, which lies after them all; none where nothing is added to any.
std::vector<LowRankViews> block_additions(const BlockLayout& layout, DType compute_dtype, int index,
                                          std::byte* memory, Device device);

/// Consecutive elements of one weight of a block.
struct WeightRun {
  std::size_t
      weight;  // in the layout; after its weights come the factors up and down of the first, of the second ...
  std::int64_t first;  // its first element in the row-major weight; of a packed one, its first byte
  TensorView
      view;  // of the weight's shape where it is whole, otherwise of one dimension; of a packed one, u8
  std::optional<DType> packed = {};
};
/// All of a weight, of a block's views.
WeightRun whole_run(std::size_t weight, const TensorView& view);

/// What `run` of a block's bytes, in whole multiples of the alignment, holds; `memory` begins with the run's first byte.
std::vector<WeightRun> weight_runs(const BlockLayout& layout, DType compute_dtype, int index, Range run,
                                   std::byte* memory, Device device);

/// Blocks of one model that a residency serves.
struct BlockGroup {
  WeightScope scope;
  BlockLayout layout;
  int count = 0;
  BlockShare share = {};

  std::size_t bytes_of(int index) const { return block_bytes(layout, scope.compute_dtype(), index); }
};

}  // namespace wan
