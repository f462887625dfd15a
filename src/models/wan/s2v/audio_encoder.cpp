#include "models/wan/s2v/audio_encoder.h"

#include <algorithm>
#include <cmath>

#include "models/wan/s2v/speech_layout.h"
#include "ops/activation.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/layer_norm.h"

namespace wan {

namespace {

constexpr float kNormEpsilon = 1e-6f;
constexpr std::int64_t kTaps = 3;  // frames that a convolution sees

/// `count` times the first frame of x [B, T, C]: a view for reading.
TensorView repeated_first_frame(const TensorView& x, std::int64_t count) {
  return TensorView(x.data(), x.dtype(), {x.dim(0), count, x.dim(2)}, {x.stride(0), 0, x.stride(2)},
                    x.device());
}

/// x [B, T, in], any strides -> [B, (T - 1) / stride + 1, out], taken from the workspace. The first frame stands for those before it.
TensorView convolve(ExecContext& ctx, const TimeConvolutionWeights& weights, const TensorView& x,
                    std::int64_t stride) {
  const std::int64_t sequences = x.dim(0), frames = x.dim(1), in = x.dim(2);
  const std::int64_t made = (frames - 1) / stride + 1;
  const std::int64_t out_width = weights.kernel.dim(0);
  const TensorView out = ctx.workspace.take(DType::kF32, {sequences, made, out_width});
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t before = kTaps - 1;
  const TensorView padded = ctx.workspace.take(DType::kF32, {sequences, before + frames, in});
  copy(ctx, {x, padded.slice(1, before, before + frames)});
  copy(ctx, {repeated_first_frame(x, before), padded.slice(1, 0, before)});
  // In the order of the kernel's [in, 3], so that the convolution is a product.
  const TensorView windows = ctx.workspace.take(DType::kF32, {sequences, made, in, kTaps});
  const TensorView overlapping(padded.data(), DType::kF32, windows.shape(),
                               {padded.stride(0), stride * in, 1, in}, padded.device());
  copy(ctx, {overlapping, windows});
  const Linear product{.weight = weights.kernel.reshape({out_width, in * kTaps}), .bias = weights.bias};
  product(ctx, windows.reshape({sequences * made, in * kTaps}), out.reshape({sequences * made, out_width}));
  return out;
}

/// In place, over rows of `width`.
void norm_and_activate(ExecContext& ctx, const TensorView& x, std::int64_t width) {
  const TensorView rows = x.reshape({x.elements() / width, width});
  layer_norm(ctx, {.x = rows,
                   .weight = {},
                   .bias = {},
                   .scale = {},
                   .shift = {},
                   .segments = {},
                   .eps = kNormEpsilon,
                   .out = rows});
  activation(ctx, {.x = rows, .kind = ActivationKind::kSiLU, .out = rows});
}

/// x [heads, T, dim / 4], of any strides, before its norm halved in time twice -> [heads, T', dim].
TensorView halve_twice(ExecContext& ctx, const AudioEncoderWeights& weights, const TensorView& x) {
  const TensorView middle = convolve(ctx, weights.middle, x, 2);
  norm_and_activate(ctx, middle, middle.dim(2));
  const TensorView last = convolve(ctx, weights.last, middle, 2);
  norm_and_activate(ctx, last, last.dim(2));
  return last;
}

}  // namespace

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
  const TensorView local = convolve(ctx, weights.local_in, rows, 1).reshape({all, heads, dim / 4});
  norm_and_activate(ctx, local, dim / 4);
  const TensorView halved = halve_twice(ctx, weights, local.permute({1, 0, 2}));
  copy(ctx, {clip(halved, 1).permute({1, 0, 2}), tokens.local.view().slice(1, 0, heads)});
  const TensorView padding(weights.padding_token.data(), DType::kF32, {latents, 1, dim}, {0, dim, 1},
                           weights.padding_token.device());
  copy(ctx, {padding, tokens.local.view().slice(1, heads, heads + 1)});

  ctx.enter("audio_global");
  const TensorView global = convolve(ctx, weights.global_in, rows, 1);
  norm_and_activate(ctx, global, dim / 4);
  const TensorView whole = halve_twice(ctx, weights, global).select(0, 0);
  weights.global_out(ctx, clip(whole, 0), tokens.global);
  return tokens;
}

}  // namespace wan
