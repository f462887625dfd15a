#pragma once
// Conditioning: everything beside the noisy latent that a guidance branch depends on, text apart (that is ContextCache).

#include <vector>

#include "models/wan/block.h"

namespace wan {

/// Where a stage stands: after a block.
struct BlockEnd {
  int block;
  LeasedWeights
      extra_weights;  // what the block has besides (BlockLayout), on the device until the stage returns
  const TokenLayout& layout;
  const WanActivations& scratch;  // free until the next block
};

/// Work on the residual stream after chosen blocks, with weights of its own or those that come with the block (S2V's audio
/// injector, Animate's face blocks). Branches that differ in it have objects of their own.
class BlockStage {
 public:
  virtual ~BlockStage() = default;
  virtual bool runs_after(int block) const = 0;
  /// x [local tokens, dim] f32, changed in place. Collective where the context has several ranks.
  virtual void run(ExecContext& ctx, const BlockEnd& end, const TensorView& x) = 0;
};

/// Added to the embeddings of some tokens.
struct AddedTokens {
  std::int64_t first = 0;  // token of the whole sequence
  TensorView values;       // [n, dim] f32
};

struct Conditioning {
  /// Latents concatenated to the noisy one along channels [in_dim - out_dim, F, H, W] f32, of a pose [pose_dim, F, H, W]; empty for
  /// text-to-video.
  TensorView channels;
  /// What embeds the patches of the noisy latent and `channels` where it is not the model's own: S2V's bias has what all tokens of
  /// the video get, and its and Animate's weights those of the pose, which are channels then. Empty weight: the model's.
  Linear video_embedding;
  /// Embedded tokens after the video's [n, dim] f32 (reference, motion); empty where the layout has only video tokens.
  TensorView extra_tokens;
  /// What cross-attention attends to beside the text; nullptr: nothing.
  ImageContext* image = nullptr;
  std::vector<AddedTokens> added;
  std::vector<BlockStage*> stages;
};

}  // namespace wan
