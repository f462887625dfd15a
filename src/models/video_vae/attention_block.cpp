#include "models/video_vae/attention_block.h"

#include <cmath>

#include "models/video_vae/residual_block.h"
#include "models/video_vae/strip_exchange.h"
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

void AttentionBlock::project(ExecContext& ctx, const TensorView& x, int first, int last,
                             const TensorView& out) const {
  const std::int64_t begin = first * channels_;
  const std::int64_t end = last * channels_;
  linear(ctx, {.x = x,
               .weight = qkv_weight_.view().reshape({3 * channels_, channels_}).slice(0, begin, end),
               .bias = qkv_bias_.view().slice(0, begin, end),
               .out = out});
}

void AttentionBlock::forward(ExecContext& ctx, const Strip& strip, const TensorView& x) const {
  Workspace::Scope scope(ctx.workspace);
  const std::int64_t tokens = x.dim(1) * x.dim(2);
  const TensorView normed = ctx.workspace.take(x.dtype(), {tokens, channels_});
  const TensorView qkv = ctx.workspace.take(x.dtype(), {tokens * 3 * channels_});
  TensorView q = qkv.reshape({tokens, 3, channels_}).slice(1, 0, 1);
  TensorView kv = qkv.reshape({tokens, 3, channels_}).slice(1, 1, 3);
  TensorView own_kv;
  if (strip.divided()) {
    q = qkv.slice(0, 0, tokens * channels_).reshape({tokens, 1, channels_});
    own_kv = qkv.slice(0, tokens * channels_, 3 * tokens * channels_).reshape({tokens, 2 * channels_});
    const Shape picture = strip.whole_of(x.shape());
    kv = ctx.workspace.take(x.dtype(), {picture[1] * picture[2], 2, channels_});
  }
  for (std::int64_t t = 0; t < x.dim(0); ++t) {
    const TensorView frame = x.slice(0, t, t + 1);  // [1, H, W, C]
    channel_norm(ctx, {.x = pixels(frame), .gamma = norm_.view().reshape({channels_}), .out = normed});
    if (strip.divided()) {
      project(ctx, normed, 0, 1, q.reshape({tokens, channels_}));
      project(ctx, normed, 1, 3, own_kv);
      gather_rows(ctx, strip, own_kv, kv.reshape({kv.dim(0), 2 * channels_}));
    } else {
      project(ctx, normed, 0, 3, qkv.reshape({tokens, 3 * channels_}));
    }
    const TensorView attended = normed;  // its values are in q, k and v now
    attention(ctx, {.q = q,
                    .k = kv.slice(1, 0, 1),
                    .v = kv.slice(1, 1, 2),
                    .scale = 1.0f / std::sqrt(static_cast<float>(channels_)),
                    .bias = {},
                    .key_bias = {},
                    .out = attended.reshape({tokens, 1, channels_})});
    proj_.forward(ctx, attended.reshape(frame.shape()), frame, frame);
  }
}

}  // namespace wan
