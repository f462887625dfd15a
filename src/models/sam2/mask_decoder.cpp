#include "models/sam2/mask_decoder.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "models/sam2/masks.h"
#include "models/sam2/positions.h"
#include "models/sam2/sums.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/copy.h"

namespace wan::sam2 {

namespace {

constexpr float kTokenEps = 1e-5f;
constexpr float kPictureEps = 1e-6f;

/// a + b in memory of the workspace.
TensorView sum(ExecContext& ctx, const TensorView& a, const TensorView& b) {
  const TensorView made = ctx.workspace.take(DType::kF32, a.shape());
  copy(ctx, {a, made});
  add(ctx, made, b);
  return made;
}

float sigmoid(float x) {
  return 1.0f / (1.0f + std::exp(-x));
}

}  // namespace

MaskDecoder::MaskDecoder(const Config& config, const WeightScope& top, const OtherWeights& other)
    : config_(config), other_(other), weights_(top.child("sam_mask_decoder"), config) {
  const std::int64_t dim = config.dim, size = config.grid();
  const WeightScope decoder = top.child("sam_mask_decoder");
  first_doubling_ = load_doubling(decoder.child("output_upscaling.0"), dim, dim / 4);
  second_doubling_ = load_doubling(decoder.child("output_upscaling.3"), dim / 4, dim / 8);
  const WeightScope prompts = top.child("sam_prompt_encoder").on_host();
  frequencies_ =
      prompts.load("pe_layer.positional_encoding_gaussian_matrix", {2, dim / 2}, WeightDType::kFloat32);
  point_mark_ = prompts.load("point_embeddings.1.weight", {1, dim}, WeightDType::kFloat32);
  no_point_ = prompts.load("not_a_point_embed.weight", {1, dim}, WeightDType::kFloat32);
  if (!frequencies_.empty())
    image_positions_ = top.make(DType::kF32, {size * size, dim},
                                [&](const TensorView& made) { grid_positions(frequencies_, size, made); });
  const WeightScope host = decoder.on_host();
  own_tokens_ = Tensor(DType::kF32, {2 + config.mask_tokens, dim});
  std::int64_t row = 0;
  for (const auto& [name, count] : {std::pair<const char*, std::int64_t>{"obj_score_token.weight", 1},
                                    {"iou_token.weight", 1},
                                    {"mask_tokens.weight", config.mask_tokens}}) {
    const Tensor rows = host.load(name, {count, dim}, WeightDType::kFloat32);
    if (!rows.empty()) std::copy_n(rows.as<float>(), count * dim, own_tokens_.as<float>() + row * dim);
    row += count;
  }
}

Tensor MaskDecoder::tokens_of(std::span<const Place> points) const {
  const std::int64_t dim = config_.dim, own = own_tokens_.dim(0);
  // Without points there is one that is none, and after points there always is.
  const auto prompts = static_cast<std::int64_t>(points.empty() ? 2 : points.size() + 1);
  Tensor tokens(DType::kF32, {own + prompts, dim});
  std::copy_n(own_tokens_.as<float>(), own * dim, tokens.as<float>());
  for (std::int64_t i = 0; i < prompts; ++i) {
    float* const to = tokens.as<float>() + (own + i) * dim;
    if (i < static_cast<std::int64_t>(points.size())) {
      const Place& place = points[static_cast<std::size_t>(i)];
      point_position(frequencies_, place.x, place.y, {to, static_cast<std::size_t>(dim)});
      for (std::int64_t c = 0; c < dim; ++c) to[c] += point_mark_.as<float>()[c];
    } else {
      std::copy_n(no_point_.as<float>(), dim, to);
    }
  }
  return tokens;
}

void MaskDecoder::attend(ExecContext& ctx, const AttentionWeights& weights, const TensorView& queries,
                         const TensorView& keys, const TensorView& values, const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t heads = config_.settings.decoder_heads, inner = weights.query.weight.dim(0);
  const std::int64_t width = inner / heads;
  const auto project = [&](const Linear& linear, const TensorView& x) {
    const TensorView made = ctx.workspace.take(linear.weight.dtype(), {x.dim(0), inner});
    linear(ctx, x, made);
    return made.reshape({x.dim(0), heads, width});
  };
  const TensorView q = project(weights.query, queries);
  const TensorView k = project(weights.key, keys);
  const TensorView v = project(weights.value, values);
  const TensorView attended = ctx.workspace.take(q.dtype(), q.shape());
  attention(ctx, {.q = q,
                  .k = k,
                  .v = v,
                  .scale = 1.0f / std::sqrt(static_cast<float>(width)),
                  .bias = {},
                  .key_bias = {},
                  .out = attended});
  weights.output(ctx, attended.reshape({q.dim(0), inner}), out);
}

void MaskDecoder::run_layer(ExecContext& ctx, std::size_t index, const TensorView& token_positions,
                            const TensorView& tokens, const TensorView& image) const {
  const Workspace::Scope scope(ctx.workspace);
  const DecoderLayerWeights& weights = weights_->layers[index];
  const TensorView branch = ctx.workspace.take(DType::kF32, tokens.shape());
  // The first layer's tokens are their positions, and are not kept beside what they attend to.
  if (index == 0) {
    attend(ctx, weights.self, tokens, tokens, tokens, branch);
    copy(ctx, {branch, tokens});
  } else {
    const TensorView placed = sum(ctx, tokens, token_positions);
    attend(ctx, weights.self, placed, placed, tokens, branch);
    add(ctx, tokens, branch);
  }
  norm_rows(ctx, weights.self_norm, kTokenEps, tokens, tokens);

  const TensorView placed_image = sum(ctx, image, image_positions_);
  attend(ctx, weights.to_image, sum(ctx, tokens, token_positions), placed_image, image, branch);
  add(ctx, tokens, branch);
  norm_rows(ctx, weights.image_norm, kTokenEps, tokens, tokens);

  const TensorView hidden = ctx.workspace.take(DType::kF32, {tokens.dim(0), config_.decoder_hidden});
  weights.ffn_in(ctx, tokens, hidden, ActivationKind::kReLU);
  weights.ffn_out(ctx, hidden, branch);
  add(ctx, tokens, branch);
  norm_rows(ctx, weights.ffn_norm, kTokenEps, tokens, tokens);

  const TensorView image_branch = ctx.workspace.take(DType::kF32, image.shape());
  attend(ctx, weights.to_tokens, placed_image, sum(ctx, tokens, token_positions), tokens, image_branch);
  add(ctx, image, image_branch);
  norm_rows(ctx, weights.tokens_norm, kTokenEps, image, image);
}

void MaskDecoder::upscale(ExecContext& ctx, const TensorView& image, const ImageFeatures& features,
                          const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  const TensorView doubled = ctx.workspace.take(DType::kF32, features.half.shape());
  first_doubling_(ctx, image, doubled);
  add(ctx, doubled, features.half);
  norm_rows(ctx, weights_->doubled_norm, kPictureEps, doubled, doubled);
  activation(ctx, {.x = doubled, .kind = ActivationKind::kGelu, .out = doubled});
  second_doubling_(ctx, doubled, out);
  add(ctx, out, features.fine);
  activation(ctx, {.x = out, .kind = ActivationKind::kGelu, .out = out});
}

MaskDecoder::Result MaskDecoder::choose(std::span<const float> masks, std::span<const float> quality,
                                        float presence, bool several) const {
  const std::size_t area = masks.size() / quality.size();
  std::vector<float> overlap(quality.size());
  std::ranges::transform(quality, overlap.begin(), sigmoid);
  const auto mask = [&](std::int64_t index) {
    return masks.subspan(static_cast<std::size_t>(index) * area, area);
  };
  const std::int64_t best = std::ranges::max_element(overlap.begin() + 1, overlap.end()) - overlap.begin();
  const bool stable =
      stability(mask(0), config_.settings.stability_delta) >= config_.settings.stability_threshold;
  Result result;
  result.mask = several || !stable ? best : 0;
  result.quality = overlap[static_cast<std::size_t>(result.mask)];
  result.present = presence > 0.0f;
  const std::span<const float> chosen = mask(result.mask);
  if (result.present)
    result.logits.assign(chosen.begin(), chosen.end());
  else
    result.logits.assign(area, kNoObject);
  return result;
}

MaskDecoder::Result MaskDecoder::decode(ExecContext& ctx, const TensorView& picture,
                                        const ImageFeatures& features, std::span<const Place> points,
                                        const TensorView& pointer) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t dim = config_.dim, masks = config_.mask_tokens,
                     area = config_.mask_size() * config_.mask_size();
  ctx.enter("sam_mask_decoder");
  const Tensor made_tokens = tokens_of(points);
  const TensorView token_positions = ctx.workspace.take(DType::kF32, made_tokens.shape());
  ctx.backend.upload(made_tokens, token_positions);
  const TensorView tokens = ctx.workspace.take(DType::kF32, made_tokens.shape());
  copy(ctx, {token_positions, tokens});
  const TensorView image = ctx.workspace.take(DType::kF32, picture.shape());
  add_to_rows(ctx, other_.no_mask, picture, image);
  for (std::size_t i = 0; i < weights_->layers.size(); ++i) {
    run_layer(ctx, i, token_positions, tokens, image);
    ctx.tap("sam_mask_decoder.transformer.layers." + std::to_string(i), tokens);
  }
  const TensorView branch = ctx.workspace.take(DType::kF32, tokens.shape());
  attend(ctx, weights_->final_to_image, sum(ctx, tokens, token_positions), sum(ctx, image, image_positions_),
         image, branch);
  add(ctx, tokens, branch);
  norm_rows(ctx, weights_->final_norm, kTokenEps, tokens, tokens);

  const TensorView fine = ctx.workspace.take(DType::kF32, features.fine.shape());
  upscale(ctx, image, features, fine);
  const TensorView mask_vectors = ctx.workspace.take(DType::kF32, {masks, dim / 8});
  const TensorView mask_tokens = tokens.slice(0, 2, 2 + masks);
  for (std::int64_t i = 0; i < masks; ++i)
    weights_->mask_heads[static_cast<std::size_t>(i)](ctx, mask_tokens.slice(0, i, i + 1),
                                                      mask_vectors.slice(0, i, i + 1));
  const TensorView all = ctx.workspace.take(DType::kF32, {masks, area});
  linear(ctx, {.x = mask_vectors, .weight = fine, .bias = {}, .out = all});
  const TensorView quality = ctx.workspace.take(DType::kF32, {1, masks});
  weights_->quality_head(ctx, tokens.slice(0, 1, 2), quality);
  const TensorView presence = ctx.workspace.take(DType::kF32, {1, 1});
  weights_->presence_head(ctx, tokens.slice(0, 0, 1), presence);
  ctx.tap("sam_mask_decoder.masks", all);
  ctx.tap("sam_mask_decoder.quality", quality);
  ctx.tap("sam_mask_decoder.presence", presence);

  const Tensor host_masks(DType::kF32, all.shape()), host_quality(DType::kF32, quality.shape()),
      host_presence(DType::kF32, presence.shape());
  ctx.backend.download(all, host_masks);
  ctx.backend.download(quality, host_quality);
  ctx.backend.download(presence, host_presence);
  const auto values = [](const Tensor& tensor) {
    return std::span<const float>(tensor.as<float>(), static_cast<std::size_t>(tensor.elements()));
  };
  const bool several = points.size() <= 1;
  Result result = choose(values(host_masks), values(host_quality), host_presence.as<float>()[0], several);
  // With a single mask asked for, its token is taken even where another mask is.
  const std::int64_t token = several ? result.mask : 0;
  if (result.present)
    other_.pointer(ctx, mask_tokens.slice(0, token, token + 1), pointer);
  else
    copy(ctx, {other_.no_pointer, pointer});
  ctx.tap("obj_ptr", pointer);
  return result;
}

}  // namespace wan::sam2
