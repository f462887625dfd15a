#include "models/wan/s2v/audio_encoder.h"

#include <algorithm>
#include <cmath>

#include "models/wan/s2v/speech_layout.h"
#include "ops/activation.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"

namespace wan {

std::vector<double> audio_layer_shares(ExecContext& ctx, const AudioEncoderWeights& weights) {
  const Tensor host(DType::kF32, {weights.layers.elements()});
  std::fill_n(host.as<float>(), host.elements(), 0.0f);
  ctx.backend.download(weights.layers.reshape(host.shape()), host);
  std::vector<double> shares;
  double sum = 0.0;
  for (std::int64_t i = 0; i < host.elements(); ++i)
    sum += shares.emplace_back(apply_activation(ActivationKind::kSiLU, host.as<float>()[i]));
  for (double& share : shares) share /= sum;
  return shares;
}

void add_audio_layer(const TensorView& layer, double share, const TensorView& sum) {
  std::transform(layer.as<float>(), layer.as<float>() + layer.elements(), sum.as<float>(), sum.as<float>(),
                 [share](float value, float before) { return static_cast<float>(before + share * value); });
}

AudioTokens encode_audio(ExecContext& ctx, const WanConfig& config, const AudioEncoderWeights& weights,
                         const TensorView& sound, bool heard) {
  const std::int64_t dim = config.dim, heads = config.speech->audio_tokens;
  const std::int64_t frames = sound.dim(1), latents = frames / 4;
  const std::int64_t all = kMotionFrames + frames;
  AudioTokens tokens{Tensor(ctx.backend.allocator(), DType::kF32, {latents, heads + 1, dim}),
                     Tensor(ctx.backend.allocator(), DType::kF32, {latents, dim})};
  ctx.enter("audio_tokens");
  const Workspace::Scope scope(ctx.workspace);
  const TensorView rows = ctx.workspace.take(DType::kF32, {1, all, sound.dim(0)});
  const TensorView own = rows.slice(1, kMotionFrames, all);
  if (heard)
    copy(ctx, {sound.permute({1, 0}), own.select(0, 0)});
  else
    fill_zero(ctx, own);
  copy(ctx, {repeated_first_frame(own, kMotionFrames), rows.slice(1, 0, kMotionFrames)});

  const auto clip = [&](const TensorView& x, int time) {
    return x.slice(time, kMotionLatents, kMotionLatents + latents);
  };
  const TensorView local = convolve_in_time(ctx, weights.local_in, rows, 1).reshape({all, heads, dim / 4});
  norm_and_activate(ctx, local, dim / 4);
  const TensorView halved = halve_twice(ctx, weights.middle, weights.last, local.permute({1, 0, 2}));
  copy(ctx, {clip(halved, 1).permute({1, 0, 2}), tokens.local.view().slice(1, 0, heads)});
  const TensorView padding(weights.padding_token.data(), DType::kF32, {latents, 1, dim}, {0, dim, 1},
                           weights.padding_token.device());
  copy(ctx, {padding, tokens.local.view().slice(1, heads, heads + 1)});

  ctx.enter("audio_global");
  const TensorView global = convolve_in_time(ctx, weights.global_in, rows, 1);
  norm_and_activate(ctx, global, dim / 4);
  const TensorView whole = halve_twice(ctx, weights.middle, weights.last, global).select(0, 0);
  weights.global_out(ctx, clip(whole, 0), tokens.global);
  return tokens;
}

}  // namespace wan
