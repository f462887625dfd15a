#include "models/vae22/blocks.h"

#include "models/video_vae/residual_block.h"
#include "ops/gated_residual.h"

namespace wan {

namespace {

TimeResampling time_resampling(const ResampleFactors& factors) {
  return factors.time == 2 ? TimeResampling::kFactor2 : TimeResampling::kNone;
}

Shape with_channels(const Shape& group, std::int64_t channels) {
  return {group[0], group[1], group[2], channels};
}

}  // namespace

void add_residual_blocks(StageList& stages, const WeightScope& scope, const BlockShape& shape) {
  for (int block = 0; block < shape.res_blocks; ++block)
    stages.add<ResidualBlock>(scope.child(std::to_string(block)), block == 0 ? shape.in : shape.out,
                              shape.out);
}

DownBlock::DownBlock(const WeightScope& scope, const BlockShape& shape)
    : shortcut_name_(tap_name(scope.child("avg_shortcut"))), shape_(shape) {
  const WeightScope layers = scope.child("downsamples");
  add_residual_blocks(blocks_, layers, shape);
  if (shape.factors.space > 1)
    resample_.emplace(layers.child(std::to_string(shape.res_blocks)), shape.out,
                      time_resampling(shape.factors));
}

Shape DownBlock::output_shape(const Shape& group, GroupKind kind) const {
  const Shape blocks = with_channels(group, shape_.out);
  return resample_ ? resample_->output_shape(blocks, kind) : blocks;
}

void DownBlock::forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                        const TensorView& out) const {
  Workspace::Scope scope(ctx.workspace);
  average_down(ctx, {.in = x, .factors = shape_.factors, .out = out});
  ctx.tap(shortcut_name_, out);
  const TensorView residual = blocks_.forward(ctx, state, x);
  ctx.check_cancelled();
  if (resample_)
    resample_->add_to(ctx, state, residual, out);
  else
    gated_residual(ctx, {.x = pixels(out), .y = pixels(residual), .gate = {}, .segments = {}});
}

UpBlock::UpBlock(const WeightScope& scope, const BlockShape& shape)
    : shortcut_name_(tap_name(scope.child("avg_shortcut"))),
      shape_(shape),
      resample_(scope.child("upsamples").child(std::to_string(shape.res_blocks)), shape.out, shape.out,
                time_resampling(shape.factors)) {
  add_residual_blocks(blocks_, scope.child("upsamples"), shape);
}

Shape UpBlock::output_shape(const Shape& group, GroupKind kind) const {
  return resample_.output_shape(with_channels(group, shape_.out), kind);
}

void UpBlock::forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                      const TensorView& out) const {
  Workspace::Scope scope(ctx.workspace);
  duplicate_up(ctx, {.in = x, .factors = shape_.factors, .out = out});
  ctx.tap(shortcut_name_, out);
  const TensorView residual = blocks_.forward(ctx, state, x);
  ctx.check_cancelled();
  resample_.add_to(ctx, state, residual, out);
}

}  // namespace wan
