#include "models/wan/animate/face_encoder.h"

#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"

namespace wan {

Tensor encode_face(ExecContext& ctx, const WanConfig& config, const FaceEncoderWeights& weights,
                   const TensorView& motion, const std::string& tap_prefix) {
  const std::int64_t frames = motion.dim(0), heads = config.animate->face_heads,
                     width = config.animate->face_dim;
  const std::int64_t latents = (frames - 1) / 4 + 1;
  Tensor tokens(ctx.backend.allocator(), DType::kF32, {1 + latents, heads + 1, config.dim});
  ctx.enter(tap_prefix + "face_encoder");
  const Workspace::Scope scope(ctx.workspace);
  fill_zero(ctx, tokens.view().slice(0, 0, 1));
  const TensorView made = tokens.view().slice(0, 1, 1 + latents);
  const TensorView local = convolve_in_time(ctx, weights.in, motion.reshape({1, frames, motion.dim(1)}), 1)
                               .reshape({frames, heads, width});
  norm_and_activate(ctx, local, width);
  const TensorView halved = halve_twice(ctx, weights.middle, weights.last, local.permute({1, 0, 2}));
  const TensorView projected = ctx.workspace.take(DType::kF32, {heads, latents, config.dim});
  weights.out(ctx, halved.reshape({heads * latents, width}),
              projected.reshape({heads * latents, config.dim}));
  copy(ctx, {projected.permute({1, 0, 2}), made.slice(1, 0, heads)});
  const TensorView padding(weights.padding_token.data(), DType::kF32, {latents, 1, config.dim},
                           {0, config.dim, 1}, weights.padding_token.device());
  copy(ctx, {padding, made.slice(1, heads, heads + 1)});
  ctx.tap(tap_prefix + "face_encoder", made);
  return tokens;
}

}  // namespace wan
