#include "models/video_vae/residual_block.h"

#include "models/video_vae/strip_exchange.h"
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

namespace {

/// x [T, H, W, C] contiguous -> out, whose frames may lie inside of a halo.
void norm_silu(ExecContext& ctx, const TensorView& x, const Tensor& gamma, const TensorView& out) {
  const auto norm = [&](const TensorView& from, const TensorView& to) {
    channel_norm(ctx, {.x = from,
                       .gamma = gamma.view().reshape({x.dim(3)}),
                       .activation = ActivationKind::kSiLU,
                       .out = to});
  };
  if (out.is_contiguous()) return norm(pixels(x), pixels(out));
  for (std::int64_t t = 0; t < x.dim(0); ++t) norm(x.select(0, t), out.select(0, t));
}

}  // namespace

void norm_silu_conv(ExecContext& ctx, StreamState& state, const TensorView& x, const Tensor& gamma,
                    const CausalConv3d& conv, const TensorView& out, const TensorView& residual) {
  Workspace::Scope scope(ctx.workspace);
  FeatureCache& cache = state.cache(ctx, conv, x.shape());
  const FrameWindow frames = cache.open(ctx, x.dim(0));
  const TensorView normed = cache.new_frames(frames);
  norm_silu(ctx, x, gamma, inside_halo(normed, frames.halo));
  exchange_halo(ctx, state.strip(), normed, frames.halo);
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
