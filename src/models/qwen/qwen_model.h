#pragma once
// QwenModel: a language model of Qwen2.5's kind: tokens to the scores of the next one.

#include <span>
#include <vector>

#include "models/qwen/layer.h"
#include "weights/block_residency.h"

namespace wan {

/// Where a token is: text goes on by one in all three, the tokens of a picture share a time.
struct QwenPosition {
  std::int64_t time, row, column;
};

/// `count` tokens of text, the first of them at `first`.
std::vector<QwenPosition> text_positions(std::int64_t first, std::int64_t count);

/// Fills table [positions, head_dim / 2, 2] (host, f32) with cosines and sines, in the reference's f32 arithmetic.
void fill_qwen_rope_table(const QwenConfig& config, std::span<const QwenPosition> positions,
                          const TensorView& table);

class QwenModel {
 public:
  /// Token embeddings stay in the mapped checkpoint and are read row by row; layers come from the residency's `group`:
  /// qwen_block_layout(). `dtype`: of activations.
  QwenModel(const QwenConfig& config, const WeightScope& top, BlockResidency& residency, int group,
            DType dtype);

  const QwenConfig& config() const { return config_; }
  DType activation_dtype() const { return dtype_; }
  /// The blocks in the order in which a pass acquires them.
  std::vector<BlockId> schedule() const;

  /// Token embeddings into out [ids, dim] f32 on the host. Throws BadFile for an id that the table has not.
  void embed(std::span<const std::int64_t> ids, const TensorView& out) const;
  /// Adds tokens, embedded [n, dim] f32 on the host, to the cache's, and fills logits [vocabulary] f32, of the backend's
  /// transfer_allocator(), with the scores of what follows the last of them.
  void forward(ExecContext& ctx, const TensorView& embedded, std::span<const QwenPosition> positions,
               KeyValueCache& cache, const TensorView& logits) const;

 private:
  QwenConfig config_;
  BlockResidency& residency_;
  int group_;
  DType dtype_;
  LoadedWeights<QwenOuterWeights> weights_;
};

}  // namespace wan
