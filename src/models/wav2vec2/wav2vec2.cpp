#include "models/wav2vec2/wav2vec2.h"

#include <algorithm>
#include <cmath>

#include "models/wav2vec2/layer.h"
#include "models/wav2vec2/speech_features.h"
#include "ops/backend.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/gated_residual.h"

namespace wan {

namespace {

/// Of the convolutions' norms: PyTorch's default, which no config names.
constexpr float kConvolutionEps = 1e-5f;

// States whose convolutions run together, five seconds of sound: 64 MB of all convolutions of the published width.
constexpr std::int64_t kStatesAtOnce = 256;

/// [n, channels] as a frame of one line.
TensorView as_line(const TensorView& rows) {
  return rows.reshape({1, 1, rows.dim(0), rows.dim(1)});
}

void convolve(ExecContext& ctx, const TensorView& x, const TensorView& weight, const TensorView& bias,
              std::int64_t stride, const TensorView& out) {
  conv3d(ctx, {.x = as_line(x),
               .weight = weight,
               .bias = bias,
               .stride = {1, 1, static_cast<int>(stride)},
               .padding = {},
               .residual = {},
               .out = as_line(out)});
}

}  // namespace

Wav2Vec2::Wav2Vec2(const Wav2Vec2Config& config, const WeightScope& top, BlockResidency& residency, int group,
                   std::string tap_prefix)
    : config_(config),
      residency_(residency),
      group_(group),
      tap_prefix_(std::move(tap_prefix)),
      weights_(wav2vec2_scope(top), config),
      convolutions_(load_convolutions(wav2vec2_scope(top), config)),
      positions_(load_positions(wav2vec2_scope(top), config)) {
  skip_unneeded(top);
}

std::vector<BlockId> Wav2Vec2::schedule() const {
  std::vector<BlockId> blocks;
  for (int layer = 0; layer < config_.num_layers; ++layer) blocks.push_back({group_, layer});
  return blocks;
}

void Wav2Vec2::encode(ExecContext& ctx, std::span<const float> samples, const StateVisitor& visit) const {
  const std::vector<float> normalized =
      config_.normalizes ? normalize_speech(samples) : std::vector<float>(samples.begin(), samples.end());
  const auto upload = [&](std::int64_t first, const TensorView& to) {
    // Read only.
    float* const from = const_cast<float*>(normalized.data()) + first;
    ctx.backend.upload({from, DType::kF32, to.shape()}, to);
  };
  run(ctx, static_cast<std::int64_t>(samples.size()), upload, visit);
}

void Wav2Vec2::rehearse(ExecContext& ctx, std::int64_t samples) const {
  run(
      ctx, samples, [](std::int64_t, const TensorView&) {}, [](std::int64_t, const TensorView&) {});
}

void Wav2Vec2::run(ExecContext& ctx, std::int64_t samples, const SampleSource& source,
                   const StateVisitor& visit) const {
  const std::int64_t states = config_.states(samples);
  WAN_CHECK(
      states > 0, kInvalidArgument,
      "a sound of {} samples is too short for the audio encoder, which wants {} or more; take a longer one",
      samples, config_.receptive_field());
  const Workspace::Scope scope(ctx.workspace);
  const TensorView x = ctx.workspace.take(DType::kF32, {states, config_.dim});
  {
    const Workspace::Scope inner(ctx.workspace);
    const std::int64_t channels = config_.convolutions.back().channels;
    const TensorView features = ctx.workspace.take(DType::kF32, {states, channels});
    ctx.enter(tap_prefix_ + "feature_extractor");
    extract(ctx, source, features);
    ctx.tap(tap_prefix_ + "feature_extractor", features);
    ctx.enter(tap_prefix_ + "feature_projection");
    norm_rows(ctx, weights_->projection_norm, config_.eps, features, features);
    weights_->projection(ctx, features, x);
    ctx.tap(tap_prefix_ + "feature_projection", x);
  }
  ctx.enter(tap_prefix_ + "encoder.pos_conv_embed");
  add_positions(ctx, x);

  const Wav2Vec2Activations scratch = take_activations(ctx.workspace, config_, states);
  for (const BlockId block : schedule()) {
    ctx.check_cancelled();
    visit(block.index, x);
    const BlockLease lease = residency_.acquire(block);
    const auto weights = bind_weights<Wav2Vec2LayerWeights>(lease.leased(), config_);
    const Wav2Vec2Layer layer(config_, scratch, weights,
                              tap_prefix_ + "encoder.layers." + std::to_string(block.index));
    layer.run(ctx, x);
  }
  ctx.enter(tap_prefix_ + "encoder.layer_norm");
  norm_rows(ctx, weights_->norm, config_.eps, x, x);
  ctx.tap(tap_prefix_ + "encoder.layer_norm", x);
  visit(config_.num_layers, x);
}

void Wav2Vec2::extract(ExecContext& ctx, const SampleSource& source, const TensorView& features) const {
  const std::int64_t states = features.dim(0);
  // A piece hears what its first and last state hear: the few states that two pieces share in between are computed twice.
  for (std::int64_t first = 0; first < states; first += kStatesAtOnce) {
    ctx.check_cancelled();
    const std::int64_t last = std::min(first + kStatesAtOnce, states);
    const Workspace::Scope scope(ctx.workspace);
    const std::int64_t count = (last - first - 1) * config_.hop() + config_.receptive_field();
    const TensorView samples = ctx.workspace.take(DType::kF32, {count});
    source(first * config_.hop(), samples);
    extract_piece(ctx, samples, features.slice(0, first, last));
  }
}

void Wav2Vec2::extract_piece(ExecContext& ctx, const TensorView& samples, const TensorView& features) const {
  TensorView x = samples.reshape({samples.dim(0), 1});
  for (std::size_t i = 0; i < convolutions_.size(); ++i) {
    const auto& [channels, kernel, stride] = config_.convolutions[i];
    const std::int64_t count = (x.dim(0) - kernel) / stride + 1;
    const bool is_last = i + 1 == convolutions_.size();
    const TensorView out = is_last ? features : ctx.workspace.take(DType::kF32, {count, channels});
    convolve(ctx, x, convolutions_[i].weight, convolutions_[i].bias, stride, out);
    norm_rows(ctx, weights_->convolution_norms[i], kConvolutionEps, out, out);
    activation(ctx, {.x = out, .kind = ActivationKind::kGelu, .out = out});
    x = out;
  }
}

void Wav2Vec2::add_positions(ExecContext& ctx, const TensorView& x) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t states = x.dim(0);
  const std::int64_t groups = config_.position_groups;
  const std::int64_t width = config_.dim / groups;
  const std::int64_t before = config_.position_kernel / 2;
  const std::int64_t padded_states = states + config_.position_kernel - 1;  // as many as give `states`
  const TensorView padded = ctx.workspace.take(DType::kF32, {groups, padded_states, width});
  fill_zero(ctx, padded);
  const auto by_group = [&](const TensorView& rows) {
    return rows.reshape({states, groups, width}).permute({1, 0, 2});
  };
  copy(ctx, {.from = by_group(x), .out = padded.slice(1, before, before + states)});
  const TensorView made = ctx.workspace.take(DType::kF32, {groups, states, width});
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t first = group * width;
    convolve(ctx, padded.select(0, group), positions_.weight.view().slice(0, first, first + width),
             positions_.bias.view().slice(0, first, first + width), 1, made.select(0, group));
  }
  activation(ctx, {.x = made, .kind = ActivationKind::kGelu, .out = made});
  const TensorView branch = ctx.workspace.take(DType::kF32, x.shape());
  copy(ctx, {.from = made, .out = by_group(branch)});
  ctx.tap(tap_prefix_ + "encoder.pos_conv_embed", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});
}

std::vector<float> normalize_speech(std::span<const float> samples) {
  const auto count = static_cast<double>(samples.size());
  double sum = 0;
  for (const float value : samples) sum += static_cast<double>(value);
  const auto mean = static_cast<float>(sum / count);
  double squares = 0;
  for (const float value : samples) {
    const auto difference = static_cast<double>(value - mean);
    squares += difference * difference;
  }
  const float deviation = std::sqrt(static_cast<float>(squares / count) + 1e-7f);
  std::vector<float> normalized;
  normalized.reserve(samples.size());
  for (const float value : samples) normalized.push_back((value - mean) / deviation);
  return normalized;
}

}  // namespace wan
