#pragma once
// The umT5 text encoder: token ids to context vectors.

#include <string>
#include <vector>

#include "ops/exec_context.h"
#include "weights/block_residency.h"
#include "weights/weight_scope.h"

namespace wan {

/// Dimensions, all from the tensors' shapes: the official layout has no config file for the text encoder.
struct Umt5Config {
  std::int64_t vocabulary;
  std::int64_t dim;
  std::int64_t dim_attention;
  std::int64_t dim_ffn;
  std::int64_t num_heads;
  std::int64_t num_layers;
  std::int64_t num_buckets;  // of relative positions, both directions together

  std::int64_t head_dim() const { return dim_attention / num_heads; }
};

/// Throws BadFile where a tensor that tells a dimension is missing or the dimensions contradict one another.
Umt5Config umt5_config(const WeightScope& weights);

/// The weights of one layer ("blocks.N."), in the order in which the encoder reads them.
BlockLayout umt5_block_layout(const Umt5Config& config);

class Umt5Encoder {
 public:
  /// Token embeddings stay in the mapped checkpoint and are read row by row; layers come from the residency.
  Umt5Encoder(const Umt5Config& config, const WeightScope& weights, BlockResidency& residency, int group,
              std::string tap_prefix);

  const Umt5Config& config() const { return config_; }
  BlockResidency& residency() const { return residency_; }
  /// The residency's blocks in the order in which encode() acquires them.
  std::vector<BlockId> schedule() const;

  /// Fills out [ids, dim] f32 on the backend's device. ids are the prompt's own, without padding: the official encoder
  /// pads to 512 and masks the padding out, which leaves these rows the same.
  void encode(ExecContext& ctx, std::span<const std::int64_t> ids, const TensorView& out) const;

 private:
  Umt5Config config_;
  BlockResidency& residency_;
  int group_;
  std::string tap_prefix_;
  const TensorEntry* token_embedding_ = nullptr;
  Checkpoint checkpoint_;  // keeps the mapping of token_embedding_ alive
  Tensor final_norm_;
};

/// Bucket of a relative position (key minus query), 0 to num_buckets - 1: half of them a direction, exact for small
/// distances, logarithmic up to 128. (T5, arXiv 1910.10683, section 2.1.)
std::int64_t relative_position_bucket(std::int64_t relative, std::int64_t num_buckets);

}  // namespace wan
