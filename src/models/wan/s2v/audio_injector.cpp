#include "models/wan/s2v/audio_injector.h"

#include <algorithm>

#include "models/wan/frame_attention.h"
#include "ops/backend.h"
#include "ops/gated_residual.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"

namespace wan {

namespace {

constexpr float kAdaptiveNormEpsilon = 1e-5f;
constexpr float kHeadNormEpsilon = 1e-6f;

}  // namespace

AudioInjector::AudioInjector(const WanConfig& config, AudioTokens tokens, std::int64_t frame_tokens,
                             DType compute, std::string tap_prefix)
    : config_(config),
      tokens_(std::move(tokens)),
      frame_tokens_(frame_tokens),
      compute_(compute),
      tap_prefix_(std::move(tap_prefix) + "audio_injector."),
      entries_(config.speech->inject_layers.size()) {}

int AudioInjector::place_of(int block) const {
  const std::vector<int>& listed = config_.speech->inject_layers;
  const auto found = std::ranges::find(listed, block);
  return found == listed.end() ? -1 : static_cast<int>(found - listed.begin());
}

void AudioInjector::run(ExecContext& ctx, const BlockEnd& end, const TensorView& x) {
  const std::int64_t video = end.layout.segments().front().tokens;
  const Range rows = local_video_rows(end.layout);
  if (rows.begin >= rows.end) return;
  WAN_CHECK(video == frame_tokens_ * tokens_.local.dim(0), kInternal,
            "[audio injector] {} tokens of video, {} frames of {}", video, tokens_.local.dim(0),
            frame_tokens_);
  const int place = place_of(end.block);
  const std::string number = std::to_string(place);
  const std::string name = tap_prefix_ + "injector." + number;
  ctx.enter(name);
  const auto weights = bind_weights<AudioInjectorWeights>(end.extra_weights, config_);
  const Entry& entry = project(ctx, place, weights);

  const auto own = [&](const TensorView& scratch) { return scratch.slice(0, 0, rows.size()); };
  const TensorView normed = own(end.scratch.normed), query = own(end.scratch.query);
  const TensorView attended = own(end.scratch.attended), branch = own(end.scratch.branch);
  norm(ctx, entry, rows, own(x), normed);
  ctx.tap(tap_prefix_ + "injector_adain_layers." + number, normed);
  weights.attention.query(ctx, normed, query);
  rms_norm(ctx, {.x = query, .weight = weights.attention.norm_query, .eps = kHeadNormEpsilon, .out = query});
  attend_by_frame(ctx, {.rows = rows,
                        .frame_tokens = frame_tokens_,
                        .keys = tokens_.local.dim(1),
                        .key = entry.key,
                        .value = entry.value,
                        .query = query,
                        .out = attended});
  weights.attention.output(ctx, attended, branch);
  ctx.tap(name, branch);
  gated_residual(ctx, {.x = own(x), .y = branch, .gate = {}, .segments = {}});
}

const AudioInjector::Entry& AudioInjector::project(ExecContext& ctx, int place,
                                                   const AudioInjectorWeights& weights) {
  Entry& entry = entries_[static_cast<std::size_t>(place)];
  if (!entry.key.empty()) return entry;
  const std::int64_t dim = config_.dim, frames = tokens_.local.dim(0);
  const Shape rows{frames * tokens_.local.dim(1), dim};
  const Shape heads{rows[0], config_.num_heads, config_.head_dim()};
  Entry made{Tensor(ctx.backend.allocator(), compute_, heads),
             Tensor(ctx.backend.allocator(), compute_, heads),
             Tensor(ctx.backend.allocator(), DType::kF32, {frames, 2 * dim})};
  const TensorView sound = tokens_.local.view().reshape(rows);
  const TensorView key = made.key.view().reshape(rows);
  weights.attention.key(ctx, sound, key);
  rms_norm(ctx, {.x = key, .weight = weights.attention.norm_key, .eps = kHeadNormEpsilon, .out = key});
  weights.attention.value(ctx, sound, made.value.view().reshape(rows));
  const Workspace::Scope scope(ctx.workspace);
  const TensorView activated = ctx.workspace.take(DType::kF32, {frames, dim});
  activation(ctx, {.x = tokens_.global, .kind = ActivationKind::kSiLU, .out = activated});
  weights.modulation(ctx, activated, made.modulation);
  entry = std::move(made);
  return entry;
}

void AudioInjector::norm(ExecContext& ctx, const Entry& entry, Range rows, const TensorView& x,
                         const TensorView& normed) const {
  std::vector<std::int64_t> ends;
  for_each_frame(rows, frame_tokens_,
                 [&](std::int64_t, std::int64_t, std::int64_t last) { ends.push_back(last); });
  const std::int64_t first = rows.begin / frame_tokens_;
  const TensorView modulation =
      entry.modulation.view().slice(0, first, first + static_cast<std::int64_t>(ends.size()));
  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = modulation.slice(1, config_.dim, 2 * config_.dim),
                   .shift = modulation.slice(1, 0, config_.dim),
                   .segments = {ends},
                   .eps = kAdaptiveNormEpsilon,
                   .out = normed});
}

}  // namespace wan
