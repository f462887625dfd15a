#include "models/wan/animate/face_fuser.h"

#include "models/wan/frame_attention.h"
#include "ops/backend.h"
#include "ops/gated_residual.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"

namespace wan {

namespace {

constexpr float kFaceNormEpsilon = 1e-6f;

/// Without weights. x [n, dim] -> out.
void norm_face_rows(ExecContext& ctx, const TensorView& x, const TensorView& out) {
  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = {},
                   .shift = {},
                   .segments = {},
                   .eps = kFaceNormEpsilon,
                   .out = out});
}

/// Of each head by itself, in place; x [n, dim], contiguous.
void norm_heads(ExecContext& ctx, const TensorView& x, const TensorView& weight) {
  const TensorView heads = x.reshape({x.elements() / weight.dim(0), weight.dim(0)});
  rms_norm(ctx, {.x = heads, .weight = weight, .eps = kFaceNormEpsilon, .out = heads});
}

}  // namespace

FaceFuser::FaceFuser(const WanConfig& config, Tensor tokens, std::int64_t frame_tokens, DType compute,
                     std::string tap_prefix)
    : config_(config),
      tokens_(std::move(tokens)),
      frame_tokens_(frame_tokens),
      compute_(compute),
      tap_prefix_(std::move(tap_prefix) + "face_adapter.fuser_blocks."),
      entries_(face_blocks(config).size()) {}

void FaceFuser::run(ExecContext& ctx, const BlockEnd& end, const TensorView& x) {
  const Range rows = local_video_rows(end.layout);
  if (rows.begin >= rows.end) return;
  const int place = face_block_after(config_, end.block);
  const std::string name = tap_prefix_ + std::to_string(place);
  ctx.enter(name);
  const auto weights = bind_weights<FaceBlockWeights>(end.extra_weights, config_);
  const Entry& entry = project(ctx, place, weights);

  const auto own = [&](const TensorView& scratch) { return scratch.slice(0, 0, rows.size()); };
  const TensorView normed = own(end.scratch.normed), query = own(end.scratch.query);
  const TensorView attended = own(end.scratch.attended), branch = own(end.scratch.branch);
  norm_face_rows(ctx, own(x), normed);
  weights.query(ctx, normed, query);
  norm_heads(ctx, query, weights.norm_query);
  attend_by_frame(ctx, {.rows = rows,
                        .frame_tokens = frame_tokens_,
                        .keys = tokens_.dim(1),
                        .key = entry.key,
                        .value = entry.value,
                        .query = query,
                        .out = attended});
  weights.output(ctx, attended, branch);
  ctx.tap(name, branch);
  gated_residual(ctx, {.x = own(x), .y = branch, .gate = {}, .segments = {}});
}

const FaceFuser::Entry& FaceFuser::project(ExecContext& ctx, int place, const FaceBlockWeights& weights) {
  Entry& entry = entries_[static_cast<std::size_t>(place)];
  if (!entry.key.empty()) return entry;
  const std::int64_t dim = config_.dim, count = tokens_.dim(0) * tokens_.dim(1);
  const Shape heads{count, config_.num_heads, config_.head_dim()};
  Entry made{Tensor(ctx.backend.allocator(), compute_, heads),
             Tensor(ctx.backend.allocator(), compute_, heads)};
  const Workspace::Scope scope(ctx.workspace);
  const TensorView normed = ctx.workspace.take(DType::kF32, {count, dim});
  norm_face_rows(ctx, tokens_.view().reshape({count, dim}), normed);
  const Linear& both = weights.key_value;
  const Linear key = both.rows(0, dim), value = both.rows(dim, 2 * dim);
  key(ctx, normed, made.key.view().reshape({count, dim}));
  norm_heads(ctx, made.key.view().reshape({count, dim}), weights.norm_key);
  value(ctx, normed, made.value.view().reshape({count, dim}));
  entry = std::move(made);
  return entry;
}

}  // namespace wan
