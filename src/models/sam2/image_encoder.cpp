#include "models/sam2/image_encoder.h"

#include <array>
#include <cmath>
#include <string>

#include "models/sam2/positions.h"
#include "models/sam2/sums.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/max_pool_2x2.h"
#include "ops/upsample.h"

namespace wan::sam2 {

namespace {

constexpr float kTrunkEps = 1e-6f;
constexpr std::int64_t kPatch = 7, kPatchStride = 4;

/// A picture's division into windows of `side` tokens, `count` of them a row; `padded` tokens a row in all.
struct Windows {
  std::int64_t side, count;

  Windows(std::int64_t size, std::int64_t window)
      : side(window == 0 ? size : window), count((size + side - 1) / side) {}
  std::int64_t padded() const { return side * count; }
  std::int64_t tokens() const { return padded() * padded(); }

  /// picture [size * size, channels], size at most padded() -> rows of windows, in each of which the windows' tokens stand beside one another:
  /// [count, side, side, count, channels]. Zeros past the picture.
  void divide(ExecContext& ctx, const TensorView& picture, std::int64_t size, const TensorView& out) const {
    const Workspace::Scope scope(ctx.workspace);
    const std::int64_t channels = picture.dim(1);
    TensorView whole = picture;
    if (size < padded()) {
      whole = ctx.workspace.take(picture.dtype(), {padded(), padded(), channels});
      fill_zero(ctx, whole);
      copy(ctx, {picture.reshape({size, size, channels}), whole.slice(0, 0, size).slice(1, 0, size)});
    }
    copy(ctx, {whole.reshape({count, side, count, side, channels}).permute({0, 1, 3, 2, 4}),
               out.reshape({count, side, side, count, channels})});
  }

  /// The way back, without what stood past the picture.
  void join(ExecContext& ctx, const TensorView& divided, std::int64_t size, const TensorView& picture) const {
    const Workspace::Scope scope(ctx.workspace);
    const std::int64_t channels = picture.dim(1);
    const bool exact = size == padded();
    const TensorView whole =
        exact ? picture : ctx.workspace.take(picture.dtype(), {padded(), padded(), channels});
    copy(ctx, {divided.reshape({count, side, side, count, channels}),
               whole.reshape({count, side, count, side, channels}).permute({0, 1, 3, 2, 4})});
    if (!exact)
      copy(ctx, {whole.slice(0, 0, size).slice(1, 0, size), picture.reshape({size, size, channels})});
  }
};

}  // namespace

ImageEncoder::ImageEncoder(const Config& config, const WeightScope& top)
    : config_(config), neck_(top, config) {
  const WeightScope trunk = top.child("image_encoder.trunk");
  const std::int64_t channels = config.blocks.front().in, size = config.settings.image_size / kPatchStride;
  patches_ = load_convolution(trunk.child("patch_embed.proj"), 3, channels, kPatch);
  const WeightScope host = trunk.on_host();
  const Tensor background = host.load("pos_embed", {1, channels, config.position_grid, config.position_grid},
                                      WeightDType::kFloat32);
  const Tensor window =
      host.load("pos_embed_window", {1, channels, config.position_window, config.position_window},
                WeightDType::kFloat32);
  if (!background.empty() && !window.empty())
    positions_ = trunk.make(DType::kF32, {size * size, channels},
                            [&](const TensorView& made) { trunk_positions(background, window, size, made); });
  for (std::size_t i = 0; i < config.blocks.size(); ++i)
    blocks_.emplace_back(trunk.child("blocks." + std::to_string(i)), config.blocks[i]);
}

void ImageEncoder::embed(ExecContext& ctx, const TensorView& pixels, const TensorView& tokens) const {
  const std::int64_t pixels_of_side = config_.settings.image_size, size = pixels_of_side / kPatchStride;
  constexpr int kPadding = static_cast<int>(kPatch / 2), kStride = static_cast<int>(kPatchStride);
  conv3d(ctx, {.x = pixels.reshape({1, pixels_of_side, pixels_of_side, 3}),
               .weight = patches_.weight,
               .bias = patches_.bias,
               .stride = {1, kStride, kStride},
               .padding = {kPadding, kPadding, kPadding, kPadding},
               .residual = {},
               .out = tokens.reshape({1, size, size, tokens.dim(1)})});
  add(ctx, tokens, positions_);
}

void ImageEncoder::attend(ExecContext& ctx, std::size_t index, std::int64_t size, const TensorView& normed,
                          const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  const BlockConfig& block = config_.blocks[index];
  const TrunkBlockWeights& weights = *blocks_[index];
  const Windows windows(size, block.window);
  const std::int64_t rows = windows.tokens();
  const DType type = weights.query_key_value.weight.dtype();
  TensorView tokens = normed;
  if (block.window != 0) {
    tokens = ctx.workspace.take(DType::kF32, {rows, block.in});
    windows.divide(ctx, normed, size, tokens);
  }
  std::array<TensorView, 3> parts;  // queries, keys, values
  for (std::int64_t i = 0; i < 3; ++i) {
    TensorView& to = parts[static_cast<std::size_t>(i)];
    to = ctx.workspace.take(type, {rows, block.out});
    weights.query_key_value.rows(i * block.out, (i + 1) * block.out)(ctx, tokens, to);
  }
  Windows after = windows;
  TensorView queries = parts[0];
  if (block.halves) {
    after.side /= 2;
    const std::int64_t beside = windows.count * block.out;
    queries = ctx.workspace.take(type, {after.tokens(), block.out});
    max_pool_2x2(ctx, {.x = parts[0].reshape({windows.count, windows.side, windows.side, beside}),
                       .out = queries.reshape({windows.count, after.side, after.side, beside})});
  }
  // A row of windows at a time: the windows beside one another are further heads.
  const std::int64_t heads = windows.count * block.heads, width = block.out / block.heads;
  const auto row_of = [&](const TensorView& all, std::int64_t side, std::int64_t row) {
    const std::int64_t count = side * side * windows.count;
    return all.slice(0, row * count, (row + 1) * count).reshape({side * side, heads, width});
  };
  const TensorView attended = ctx.workspace.take(type, queries.shape());
  for (std::int64_t row = 0; row < windows.count; ++row)
    attention(ctx, {.q = row_of(queries, after.side, row),
                    .k = row_of(parts[1], windows.side, row),
                    .v = row_of(parts[2], windows.side, row),
                    .scale = 1.0f / std::sqrt(static_cast<float>(width)),
                    .bias = {},
                    .key_bias = {},
                    .out = row_of(attended, after.side, row)});
  const std::int64_t size_after = block.halves ? size / 2 : size;
  if (block.window == 0) return weights.output(ctx, attended, out);
  const TensorView projected = ctx.workspace.take(DType::kF32, attended.shape());
  weights.output(ctx, attended, projected);
  after.join(ctx, projected, size_after, out);
}

void ImageEncoder::run_block(ExecContext& ctx, std::size_t index, std::int64_t size, const TensorView& x,
                             const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  const BlockConfig& block = config_.blocks[index];
  const TrunkBlockWeights& weights = *blocks_[index];
  {
    const Workspace::Scope half(ctx.workspace);
    const TensorView normed = ctx.workspace.take(DType::kF32, x.shape());
    norm_rows(ctx, weights.attention_norm, kTrunkEps, x, normed);
    if (block.halves) {
      const TensorView widened = ctx.workspace.take(DType::kF32, {size * size, block.out});
      weights.shortcut(ctx, normed, widened);
      max_pool_2x2(ctx, {.x = widened.reshape({1, size, size, block.out}),
                         .out = out.reshape({1, size / 2, size / 2, block.out})});
    }
    const TensorView branch = ctx.workspace.take(DType::kF32, out.shape());
    attend(ctx, index, size, normed, branch);
    add(ctx, out, branch);
  }
  const TensorView normed = ctx.workspace.take(DType::kF32, out.shape());
  norm_rows(ctx, weights.ffn_norm, kTrunkEps, out, normed);
  const TensorView hidden = ctx.workspace.take(weights.ffn_in.weight.dtype(), {out.dim(0), block.hidden});
  weights.ffn_in(ctx, normed, hidden, ActivationKind::kGelu);
  weights.ffn_out(ctx, hidden, normed);
  add(ctx, out, normed);
}

void ImageEncoder::end_stage(ExecContext& ctx, std::size_t stage, std::int64_t size, const TensorView& x,
                             const ImageFeatures& features) const {
  const Workspace::Scope scope(ctx.workspace);
  const PixelConvolution& lateral = neck_->lateral[stage];
  const std::int64_t dim = config_.dim;
  if (stage == 2) return lateral(ctx, x, features.coarse);
  const TensorView picture = ctx.workspace.take(DType::kF32, {x.dim(0), dim});
  lateral(ctx, x, picture);
  if (stage == 0) return neck_->fine(ctx, picture, features.fine);
  if (stage == 1) return neck_->half(ctx, picture, features.half);
  // Of the last stage there is what it adds to the one before.
  const TensorView enlarged = ctx.workspace.take(DType::kF32, {4 * x.dim(0), dim});
  upsample_nearest_2x(ctx, {.x = picture.reshape({1, size, size, dim}),
                            .out = enlarged.reshape({1, 2 * size, 2 * size, dim})});
  add(ctx, features.coarse, enlarged);
}

void ImageEncoder::encode(ExecContext& ctx, const TensorView& pixels, const ImageFeatures& features) const {
  const Workspace::Scope scope(ctx.workspace);
  std::int64_t size = config_.settings.image_size / kPatchStride;
  ctx.enter("image_encoder.trunk.patch_embed");
  TensorView x = ctx.workspace.take(DType::kF32, {size * size, config_.blocks.front().in});
  embed(ctx, pixels, x);
  std::size_t stage = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    ctx.check_cancelled();
    const BlockConfig& block = config_.blocks[i];
    const std::string name = "image_encoder.trunk.blocks." + std::to_string(i);
    ctx.enter(name);
    // A block that keeps its channels adds to what it got.
    const std::int64_t size_after = block.halves ? size / 2 : size;
    const TensorView out =
        block.halves ? ctx.workspace.take(DType::kF32, {size_after * size_after, block.out}) : x;
    run_block(ctx, i, size, x, out);
    size = size_after;
    x = out;
    ctx.tap(name, x.reshape({size, size, block.out}));
    if (static_cast<int>(i) == config_.stage_ends[stage]) end_stage(ctx, stage++, size, x, features);
  }
  ctx.tap("image_encoder.coarse", features.coarse);
  ctx.tap("image_encoder.half", features.half);
  ctx.tap("image_encoder.fine", features.fine);
}

void normalize_picture(std::span<const std::uint8_t> levels, std::span<float> values) {
  // The official code divides in double and rounds, then goes on in float.
  constexpr float kMean[] = {0.485f, 0.456f, 0.406f};
  constexpr float kDeviation[] = {0.229f, 0.224f, 0.225f};
  std::array<std::array<float, 256>, 3> table;
  for (std::size_t channel = 0; channel < 3; ++channel)
    for (std::size_t level = 0; level < 256; ++level) {
      const auto share = static_cast<float>(static_cast<double>(level) / 255.0);
      table[channel][level] = (share - kMean[channel]) / kDeviation[channel];
    }
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = table[i % 3][levels[i]];
}

}  // namespace wan::sam2
