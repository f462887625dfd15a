#pragma once
// BlockLayout: the weights of one transformer block, the same for every block of a model; and where they lie
// in one piece of memory.

#include <cstddef>
#include <string>
#include <vector>

#include "weights/block_shards.h"
#include "weights/weight_scope.h"

namespace wan {

struct BlockLayout {
  /// Below the scope; "{i}" stands for the block's index: "blocks.{i}.".
  std::string prefix;
  /// The order in which a lease gives the block's weights.
  std::vector<WeightSpec> weights;

  /// "blocks.7."
  std::string block_prefix(int index) const;
};

/// Bytes of one block in device memory, each weight aligned to 64 bytes: what a memory plan counts.
std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype);

/// The views of a block whose memory begins at `memory`, in layout order.
std::vector<TensorView> block_views(const BlockLayout& layout, DType compute_dtype, std::byte* memory,
                                    Device device);

/// Consecutive elements of one weight of a block.
struct WeightRun {
  std::size_t weight;  // in the layout
  std::int64_t first;  // its first element in the row-major weight
  TensorView view;     // of the weight's shape where it is whole, otherwise of one dimension
};

/// What `run` of a block's bytes, in whole multiples of the alignment, holds; `memory` begins with the run's first byte.
std::vector<WeightRun> weight_runs(const BlockLayout& layout, DType compute_dtype, Range run,
                                   std::byte* memory, Device device);

/// Blocks of one model that a residency serves.
struct BlockGroup {
  WeightScope scope;
  BlockLayout layout;
  int count = 0;
  BlockShare share = {};
};

}  // namespace wan
