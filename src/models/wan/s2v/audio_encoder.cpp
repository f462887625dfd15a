#include "models/wan/s2v/audio_encoder.h"

#include <algorithm>
#include <cmath>

#include "models/wan/s2v/speech_layout.h"
#include "ops/activation.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/linear_combination.h"

namespace wan {

namespace {

/// What SiLU makes of the layers' weights, as parts of 1.
std::vector<double> layer_shares(ExecContext& ctx, const TensorView& weights) {
  const Tensor host(DType::kF32, {weights.elements()});
  std::fill_n(host.as<float>(), weights.elements(), 0.0f);
  ctx.backend.download(weights.reshape(host.shape()), host);
  std::vector<double> shares;
  double sum = 0.0;
  for (std::int64_t i = 0; i < weights.elements(); ++i)
    sum += shares.emplace_back(apply_activation(ActivationKind::kSiLU, host.as<float>()[i]));
  for (double& share : shares) share /= sum;
  return shares;
}

/// out [frames, C]: the mean of features [layers, C, frames].
void average_layers(ExecContext& ctx, const TensorView& features, const TensorView& weights,
                    const TensorView& out) {
  constexpr std::size_t kMostTerms = 8;  // of a linear combination
  const Workspace::Scope scope(ctx.workspace);
  const TensorView sum = ctx.workspace.take(DType::kF32, {features.dim(1), features.dim(2)});
  const std::vector<double> shares = layer_shares(ctx, weights);
  for (std::size_t layer = 0; layer < shares.size();) {
    LinearCombinationArgs args{.terms = {}, .out = sum};
    if (layer > 0) args.terms.push_back({1.0, sum});
    for (; args.terms.size() < kMostTerms && layer < shares.size(); ++layer)
      args.terms.push_back({shares[layer], features.select(0, static_cast<std::int64_t>(layer))});
    linear_combination(ctx, args);
  }
  copy(ctx, {sum.permute({1, 0}), out});
}

}  // namespace

AudioTokens encode_audio(ExecContext& ctx, const WanConfig& config, const AudioEncoderWeights& weights,
                         const TensorView& features, bool heard) {
  const std::int64_t dim = config.dim, heads = config.speech->audio_tokens;
  const std::int64_t frames = features.dim(2), latents = frames / 4;
  const std::int64_t all = kMotionFrames + frames;
  AudioTokens tokens{Tensor(ctx.backend.allocator(), DType::kF32, {latents, heads + 1, dim}),
                     Tensor(ctx.backend.allocator(), DType::kF32, {latents, dim})};
  ctx.enter("audio_tokens");
  const Workspace::Scope scope(ctx.workspace);
  const TensorView sound = ctx.workspace.take(DType::kF32, {1, all, features.dim(1)});
  const TensorView own = sound.slice(1, kMotionFrames, all);
  if (heard)
    average_layers(ctx, features, weights.layers, own.select(0, 0));
  else
    fill_zero(ctx, own);
  copy(ctx, {repeated_first_frame(own, kMotionFrames), sound.slice(1, 0, kMotionFrames)});

  const auto clip = [&](const TensorView& x, int time) {
    return x.slice(time, kMotionLatents, kMotionLatents + latents);
  };
  const TensorView local = convolve_in_time(ctx, weights.local_in, sound, 1).reshape({all, heads, dim / 4});
  norm_and_activate(ctx, local, dim / 4);
  const TensorView halved = halve_twice(ctx, weights.middle, weights.last, local.permute({1, 0, 2}));
  copy(ctx, {clip(halved, 1).permute({1, 0, 2}), tokens.local.view().slice(1, 0, heads)});
  const TensorView padding(weights.padding_token.data(), DType::kF32, {latents, 1, dim}, {0, dim, 1},
                           weights.padding_token.device());
  copy(ctx, {padding, tokens.local.view().slice(1, heads, heads + 1)});

  ctx.enter("audio_global");
  const TensorView global = convolve_in_time(ctx, weights.global_in, sound, 1);
  norm_and_activate(ctx, global, dim / 4);
  const TensorView whole = halve_twice(ctx, weights.middle, weights.last, global).select(0, 0);
  weights.global_out(ctx, clip(whole, 0), tokens.global);
  return tokens;
}

}  // namespace wan
