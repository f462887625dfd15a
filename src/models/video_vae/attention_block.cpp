#include "models/video_vae/attention_block.h"

#include <cmath>

#include "models/video_vae/residual_block.h"
#include "ops/attention.h"
#include "ops/channel_norm.h"
#include "ops/linear.h"

namespace wan {

AttentionBlock::AttentionBlock(const WeightScope& scope, std::int64_t channels)
    : channels_(channels),
      norm_(load_gamma(scope.child("norm"), {channels, 1, 1})),
      qkv_weight_(scope.load("to_qkv.weight", {3 * channels, channels, 1, 1})),
      qkv_bias_(scope.load("to_qkv.bias", {3 * channels}, WeightDType::kFloat32)),
      proj_(CausalConv3d::load_2d(scope.child("proj"),
                                  {.in = channels, .out = channels, .kernel = {1, 1, 1}})) {}

void AttentionBlock::forward(ExecContext& ctx, const TensorView& x) const {
  Workspace::Scope scope(ctx.workspace);
  const std::int64_t tokens = x.dim(1) * x.dim(2);
  const TensorView normed = ctx.workspace.take(x.dtype(), {tokens, channels_});
  const TensorView qkv = ctx.workspace.take(x.dtype(), {tokens, 3 * channels_});
  const TensorView heads = qkv.reshape({tokens, 3, channels_});
  for (std::int64_t t = 0; t < x.dim(0); ++t) {
    const TensorView frame = x.slice(0, t, t + 1);  // [1, H, W, C]
    channel_norm(ctx, {.x = pixels(frame), .gamma = norm_.view().reshape({channels_}), .out = normed});
    linear(ctx, {.x = normed,
                 .weight = qkv_weight_.view().reshape({3 * channels_, channels_}),
                 .bias = qkv_bias_,
                 .out = qkv});
    const TensorView attended = normed;  // its values are in q, k and v now
    attention(ctx, {.q = heads.slice(1, 0, 1),
                    .k = heads.slice(1, 1, 2),
                    .v = heads.slice(1, 2, 3),
                    .scale = 1.0f / std::sqrt(static_cast<float>(channels_)),
                    .bias = {},
                    .key_bias = {},
                    .out = attended.reshape({tokens, 1, channels_})});
    proj_.forward(ctx, attended.reshape(frame.shape()), frame, frame);
  }
}

}  // namespace wan
