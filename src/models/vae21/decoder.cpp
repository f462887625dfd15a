#include "models/vae21/decoder.h"

#include "models/vae21/latent_statistics.h"
#include "ops/copy.h"

namespace wan {

namespace {

/// conv2 of latents that are not normalised yet, as a convolution of normalised ones: w (d x + m) + b.
CausalConv3d load_conv2(const WeightScope& scope, std::int64_t z_dim) {
  const LatentStatistics statistics = vae21_latent_statistics(z_dim);
  Tensor weight = channels_last_weight(scope.load("weight", {z_dim, z_dim, 1, 1, 1}, WeightDType::kFloat32));
  Tensor bias = scope.load("bias", {z_dim}, WeightDType::kFloat32);
  if (!weight.empty() && !bias.empty()) {
    float* const w = weight.as<float>();
    for (std::int64_t o = 0; o < z_dim; ++o) {
      double sum = bias.as<float>()[o];
      for (std::int64_t i = 0; i < z_dim; ++i) {
        const auto channel = static_cast<std::size_t>(i);
        float& element = w[o * z_dim + i];
        sum += static_cast<double>(element) * statistics.mean[channel];
        element = static_cast<float>(static_cast<double>(element) * statistics.deviation[channel]);
      }
      bias.as<float>()[o] = static_cast<float>(sum);
    }
  }
  return {std::move(weight), std::move(bias), {.in = z_dim, .out = z_dim, .kernel = {1, 1, 1}}};
}

}  // namespace

Vae21Decoder::Vae21Decoder(const WeightScope& scope, const Vae21Config& config)
    : conv2_(load_conv2(scope.child("conv2"), config.z_dim)),
      conv1_(scope.child("decoder.conv1"),
             same_size_conv(config.z_dim, config.channels(config.levels() - 1))),
      middle_(scope.child("decoder.middle"), config.channels(config.levels() - 1), "vae.decoder.middle"),
      head_norm_(load_gamma(scope.child("decoder.head.0"), {config.channels(0), 1, 1, 1})),
      head_(scope.child("decoder.head.2"), same_size_conv(config.channels(0), 3)) {
  std::int64_t channels = conv1_.shape().out;
  const auto add = [&](auto make) {
    const std::string path = "decoder.upsamples." + std::to_string(upsamples_.size());
    upsamples_.push_back({"vae." + path, make(scope.child(path))});
  };
  for (int level = config.levels() - 1; level >= 0; --level) {
    const std::int64_t out = config.channels(level);
    for (int block = 0; block < config.res_blocks + 1; ++block) {
      add([&](const WeightScope& at) { return Stage(ResidualBlock(at, channels, out)); });
      channels = out;
    }
    if (level == 0) break;
    const TimeResampling time = config.halves_time[static_cast<std::size_t>(level - 1)]
                                    ? TimeResampling::kFactor2
                                    : TimeResampling::kNone;
    add([&](const WeightScope& at) { return Stage(Upsample(at, channels, channels / 2, time)); });
    channels /= 2;
  }
}

void Vae21Decoder::plan(std::int64_t height, std::int64_t width, StreamPlan& plan) const {
  const StreamPlan::Scope scope(plan);
  const Shape latent{1, height, width, conv2_.shape().in};
  Shape x = conv1_.output_shape(latent);
  plan.take(x);
  {
    const StreamPlan::Scope first(plan);
    plan.take(latent);
    plan.open_cache(latent, conv1_.history());
  }
  middle_.plan(x, plan);
  for (const NamedStage& stage : upsamples_) {
    if (const auto* block = std::get_if<ResidualBlock>(&stage.layer)) {
      if (block->changes_channels()) plan.take(block->output_shape(x));
      x = block->plan(x, plan);
    } else {
      const auto& upsample = std::get<Upsample>(stage.layer);
      plan.take(upsample.output_shape(x, false));
      x = upsample.plan(x, plan);
    }
  }
  plan.take(head_.output_shape(x));
  plan.open_cache(x, head_.history());
}

TensorView Vae21Decoder::first_convolutions(ExecContext& ctx, StreamState& state,
                                            const TensorView& latent) const {
  const Shape shape{1, latent.dim(2), latent.dim(3), latent.dim(0)};
  const TensorView x = ctx.workspace.take(DType::kF32, conv1_.output_shape(shape));
  Workspace::Scope scope(ctx.workspace);
  const TensorView channels_last = ctx.workspace.take(DType::kF32, shape);
  copy(ctx, {.from = latent.permute({1, 2, 3, 0}), .out = channels_last});
  const FeatureCache& cache = state.next_cache();
  const TensorView frames = cache.open(ctx, 1);
  conv2_.forward(ctx, channels_last, cache.new_frames(frames));
  ctx.tap("vae.conv2", cache.new_frames(frames));
  conv1_.forward(ctx, frames, x);
  ctx.tap("vae.decoder.conv1", x);
  cache.close(ctx, frames);
  return x;
}

void Vae21Decoder::forward(ExecContext& ctx, StreamState& state, const TensorView& latent,
                           const FrameConsumer& sink) const {
  Workspace::Scope scope(ctx.workspace);
  TensorView x = first_convolutions(ctx, state, latent);  // [1, h, w, C]
  middle_.forward(ctx, state, x);
  for (const NamedStage& stage : upsamples_) {
    ctx.check_cancelled();
    TensorView out = x;
    if (const auto* block = std::get_if<ResidualBlock>(&stage.layer)) {
      if (block->changes_channels()) out = ctx.workspace.take(DType::kF32, block->output_shape(x.shape()));
      block->forward(ctx, state, x, out);
    } else {
      const auto& upsample = std::get<Upsample>(stage.layer);
      out = ctx.workspace.take(DType::kF32, upsample.output_shape(x.shape(), state.first_group()));
      upsample.forward(ctx, state, x, out);
    }
    x = out;
    ctx.tap(stage.name, x);
  }
  const TensorView frames = ctx.workspace.take(DType::kF32, head_.output_shape(x.shape()));  // [T, H, W, 3]
  norm_silu_conv(ctx, state, x, head_norm_, head_, frames);
  ctx.tap("vae.decoder.head.2", frames);
  sink(frames);
}

}  // namespace wan
