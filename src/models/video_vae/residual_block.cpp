#include "models/video_vae/residual_block.h"

#include "ops/channel_norm.h"

namespace wan {

TensorView pixels(const TensorView& frames) {
  return frames.reshape({frames.dim(0) * frames.dim(1) * frames.dim(2), frames.dim(3)});
}

Tensor load_gamma(const WeightScope& scope, const Shape& stored) {
  return scope.load("gamma", stored, WeightDType::kFloat32);
}

ConvShape same_size_conv(std::int64_t in, std::int64_t out) {
  return {
      .in = in, .out = out, .kernel = {3, 3, 3}, .padding = {.top = 1, .bottom = 1, .left = 1, .right = 1}};
}

void norm_silu_conv(ExecContext& ctx, StreamState& state, const TensorView& x, const Tensor& gamma,
                    const CausalConv3d& conv, const TensorView& out, const TensorView& residual) {
  Workspace::Scope scope(ctx.workspace);
  FeatureCache& cache = state.cache(ctx, conv, x.shape());
  const FrameWindow frames = cache.open(ctx, x.dim(0));
  channel_norm(ctx, {.x = pixels(x),
                     .gamma = gamma.view().reshape({x.dim(3)}),
                     .activation = ActivationKind::kSiLU,
                     .out = pixels(cache.new_frames(frames))});
  conv.forward(ctx, frames, out, residual);
  cache.close(ctx, frames);
}

ResidualBlock::ResidualBlock(const WeightScope& scope, std::int64_t in, std::int64_t out)
    : in_(in),
      out_(out),
      norm1_(load_gamma(scope.child("residual.0"), {in, 1, 1, 1})),
      norm2_(load_gamma(scope.child("residual.3"), {out, 1, 1, 1})),
      conv1_(scope.child("residual.2"), same_size_conv(in, out)),
      conv2_(scope.child("residual.6"), same_size_conv(out, out)) {
  if (!in_place())
    shortcut_ = CausalConv3d(scope.child("shortcut"), {.in = in, .out = out, .kernel = {1, 1, 1}});
}

void ResidualBlock::forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                            const TensorView& out) const {
  Workspace::Scope scope(ctx.workspace);
  const TensorView hidden = state.take_input(ctx, conv2_, out.shape());
  norm_silu_conv(ctx, state, x, norm1_, conv1_, hidden);
  if (!in_place()) shortcut_.forward(ctx, x, out);
  norm_silu_conv(ctx, state, hidden, norm2_, conv2_, out, out);
}

}  // namespace wan
