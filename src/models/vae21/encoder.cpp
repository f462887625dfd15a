#include "models/vae21/encoder.h"

#include "models/vae21/latent_statistics.h"
#include "ops/copy.h"

namespace wan {

namespace {

/// The first z_dim outputs (the mean; the others are the log-variance) of the file's conv1, normalised:
/// (w x + b - m) / d.
CausalConv3d load_mean(const WeightScope& scope, std::int64_t z_dim) {
  const LatentStatistics statistics = vae21_latent_statistics(z_dim);
  const std::int64_t in = 2 * z_dim;
  const Tensor both_weight =
      channels_last_weight(scope.load("weight", {in, in, 1, 1, 1}, WeightDType::kFloat32));
  const Tensor both_bias = scope.load("bias", {in}, WeightDType::kFloat32);
  const ConvShape shape{.in = in, .out = z_dim, .kernel = {1, 1, 1}};
  if (both_weight.empty() || both_bias.empty()) return {{}, {}, shape};
  Tensor weight(DType::kF32, {z_dim, 1, 1, 1, in});
  Tensor bias(DType::kF32, {z_dim});
  for (std::int64_t o = 0; o < z_dim; ++o) {
    const double mean = statistics.mean[static_cast<std::size_t>(o)];
    const double deviation = statistics.deviation[static_cast<std::size_t>(o)];
    for (std::int64_t i = o * in; i < (o + 1) * in; ++i)
      weight.as<float>()[i] = static_cast<float>(static_cast<double>(both_weight.as<float>()[i]) / deviation);
    bias.as<float>()[o] =
        static_cast<float>((static_cast<double>(both_bias.as<float>()[o]) - mean) / deviation);
  }
  return {std::move(weight), std::move(bias), shape};
}

}  // namespace

Vae21Encoder::Vae21Encoder(const WeightScope& scope, const Vae21Config& config)
    : conv1_(scope.child("encoder.conv1"), same_size_conv(3, config.dim)),
      middle_(scope.child("encoder.middle"), config.channels(config.levels() - 1), "vae.encoder.middle"),
      head_norm_(load_gamma(scope.child("encoder.head.0"), {config.channels(config.levels() - 1), 1, 1, 1})),
      head_(scope.child("encoder.head.2"),
            same_size_conv(config.channels(config.levels() - 1), 2 * config.z_dim)),
      mean_(load_mean(scope.child("conv1"), config.z_dim)) {
  std::int64_t channels = config.dim;
  const auto add = [&](auto make) {
    const std::string path = "encoder.downsamples." + std::to_string(downsamples_.size());
    downsamples_.push_back({"vae." + path, make(scope.child(path))});
  };
  for (int level = 0; level < config.levels(); ++level) {
    const std::int64_t out = config.channels(level);
    for (int block = 0; block < config.res_blocks; ++block) {
      add([&](const WeightScope& at) { return Stage(ResidualBlock(at, channels, out)); });
      channels = out;
    }
    if (level + 1 == config.levels()) break;
    const TimeResampling time = config.halves_time[static_cast<std::size_t>(level)] ? TimeResampling::kFactor2
                                                                                    : TimeResampling::kNone;
    add([&](const WeightScope& at) { return Stage(Downsample(at, channels, time)); });
  }
}

void Vae21Encoder::plan(const Shape& group, StreamPlan& plan) const {
  const StreamPlan::Scope scope(plan);
  Shape x = conv1_.output_shape(group);
  plan.take(x);
  {
    const StreamPlan::Scope first(plan);
    plan.open_cache(group, conv1_.history());
  }
  for (const NamedStage& stage : downsamples_) {
    if (const auto* block = std::get_if<ResidualBlock>(&stage.layer)) {
      if (block->changes_channels()) plan.take(block->output_shape(x));
      x = block->plan(x, plan);
    } else {
      const auto& downsample = std::get<Downsample>(stage.layer);
      plan.take(downsample.output_shape(x, false));
      x = downsample.plan(x, plan);
    }
  }
  middle_.plan(x, plan);
  const Shape moments = head_.output_shape(x);
  plan.take(moments);
  {
    const StreamPlan::Scope head(plan);
    plan.open_cache(x, head_.history());
  }
  plan.take(mean_.output_shape(moments));
}

TensorView Vae21Encoder::first_convolution(ExecContext& ctx, StreamState& state, const FrameSource& source,
                                           std::int64_t first, const Shape& group) const {
  const TensorView x = ctx.workspace.take(DType::kF32, conv1_.output_shape(group));
  Workspace::Scope scope(ctx.workspace);
  const FeatureCache& cache = state.next_cache();
  const TensorView frames = cache.open(ctx, group[0]);
  source(first, cache.new_frames(frames));
  conv1_.forward(ctx, frames, x);
  ctx.tap("vae.encoder.conv1", x);
  cache.close(ctx, frames);
  return x;
}

void Vae21Encoder::forward(ExecContext& ctx, StreamState& state, const FrameSource& source,
                           std::int64_t first, const Shape& group, const TensorView& latent) const {
  Workspace::Scope scope(ctx.workspace);
  TensorView x = first_convolution(ctx, state, source, first, group);  // [T, H, W, dim]
  for (const NamedStage& stage : downsamples_) {
    ctx.check_cancelled();
    TensorView out = x;
    if (const auto* block = std::get_if<ResidualBlock>(&stage.layer)) {
      if (block->changes_channels()) out = ctx.workspace.take(DType::kF32, block->output_shape(x.shape()));
      block->forward(ctx, state, x, out);
    } else {
      const auto& downsample = std::get<Downsample>(stage.layer);
      out = ctx.workspace.take(DType::kF32, downsample.output_shape(x.shape(), state.first_group()));
      downsample.forward(ctx, state, x, out);
    }
    x = out;
    ctx.tap(stage.name, x);
  }
  middle_.forward(ctx, state, x);
  const TensorView moments = ctx.workspace.take(DType::kF32, head_.output_shape(x.shape()));  // [1, h, w, 2z]
  norm_silu_conv(ctx, state, x, head_norm_, head_, moments);
  ctx.tap("vae.encoder.head.2", moments);
  const TensorView mean = ctx.workspace.take(DType::kF32, mean_.output_shape(moments.shape()));
  mean_.forward(ctx, moments, mean);
  copy(ctx, {.from = mean.permute({3, 0, 1, 2}), .out = latent});
}

}  // namespace wan
