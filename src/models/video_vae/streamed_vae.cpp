#include "models/video_vae/streamed_vae.h"

#include <utility>

#include "models/video_vae/plan.h"
#include "models/video_vae/tiled.h"

namespace wan {

namespace {

void check_latents(const char* what, const VaeGeometry& geometry, const TensorView& latents) {
  WAN_CHECK(latents.rank() == 4 && latents.dim(0) == geometry.z_dim && latents.dim(1) >= 1 &&
                latents.dtype() == DType::kF32,
            kInvalidArgument, "[{}] expected latents [{}, frames, height, width] in f32, got {} in {}", what,
            geometry.z_dim, latents.shape().to_string(), dtype_name(latents.dtype()));
}

/// The plan was made for this extent.
void check_plan(const char* what, const TensorView& latents, const VaePlan& plan) {
  WAN_CHECK(plan.tile_height >= 1 && plan.tile_width >= 1 && plan.tile_height <= latents.dim(2) &&
                plan.tile_width <= latents.dim(3) && plan.bytes > 0,
            kInternal, "[{}] the plan's tiles of {} x {} do not fit latents of {}", what, plan.tile_height,
            plan.tile_width, latents.shape().to_string());
}

}  // namespace

void check_precision(const char* model, const VaePrecision& precision) {
  WAN_CHECK(precision.compute == DType::kF32 || precision.compute == DType::kBF16, kUnsupported,
            "[{}] expected a precision of f32 or bf16, got {}; use one of these", model,
            dtype_name(precision.compute));
}

StreamedVae::StreamedVae(const VaeGeometry& geometry, const VaePrecision& precision, VaeEncoder encoder,
                         VaeDecoder decoder)
    : geometry_(geometry),
      precision_(precision),
      encoder_(std::move(encoder)),
      decoder_(std::move(decoder)) {}

StreamOptions StreamedVae::stream_options(const VaePlan& plan) const {
  return {.walk = plan.frame_by_frame ? GroupWalk::kFrameByFrame : GroupWalk::kWhole,
          .history = plan.compact_history ? HistoryLayout::kCompact : HistoryLayout::kInPlace,
          .compute = precision_.compute};
}

StreamPlan StreamedVae::decode_stream(const VaePlan& plan) const {
  StreamPlan stream(stream_options(plan));
  decoder_.plan(plan.tile_height, plan.tile_width, stream);
  return stream;
}

StreamPlan StreamedVae::encode_stream(const VaePlan& plan) const {
  StreamPlan stream(stream_options(plan));
  encoder_.plan({geometry_.temporal_stride, plan.tile_height * geometry_.spatial_stride,
                 plan.tile_width * geometry_.spatial_stride, 3},
                stream);
  return stream;
}

VaePlan StreamedVae::plan_decode(const LatentExtent& extent, std::size_t byte_budget) const {
  return choose_plan("VAE decode", extent, byte_budget, [&](const VaePlan& plan) {
    return decode_tiled_bytes(geometry_, extent, plan) + decode_stream(plan).peak_bytes();
  });
}

VaePlan StreamedVae::plan_encode(const LatentExtent& extent, std::size_t byte_budget) const {
  return choose_plan("VAE encode", extent, byte_budget, [&](const VaePlan& plan) {
    return encode_tiled_bytes(geometry_, extent, plan) + encode_stream(plan).peak_bytes();
  });
}

void StreamedVae::decode(ExecContext& ctx, const TensorView& latents, const VaePlan& plan,
                         const FrameConsumer& sink) const {
  check_latents("VAE decode", geometry_, latents);
  check_plan("VAE decode", latents, plan);
  const StreamPlan stream = decode_stream(plan);
  ctx.workspace.reserve(plan.bytes);
  decode_tiled(ctx, geometry_, plan, latents, sink,
               [&](const TensorView& tile, const FrameConsumer& tile_sink) {
                 decode_tile(ctx, stream, tile, tile_sink);
               });
}

void StreamedVae::encode(ExecContext& ctx, const FrameSource& source, const VaePlan& plan,
                         const TensorView& latents) const {
  check_latents("VAE encode", geometry_, latents);
  check_plan("VAE encode", latents, plan);
  const StreamPlan stream = encode_stream(plan);
  ctx.workspace.reserve(plan.bytes);
  encode_tiled(ctx, geometry_, plan, source, latents, [&](const FrameSource& frames, const TensorView& tile) {
    encode_tile(ctx, stream, frames, tile);
  });
}

void StreamedVae::decode_tile(ExecContext& ctx, const StreamPlan& stream, const TensorView& latents,
                              const FrameConsumer& sink) const {
  Workspace::Scope scope(ctx.workspace);
  StreamState state(ctx, stream);
  for (std::int64_t f = 0; f < latents.dim(1); ++f) {
    state.begin_group(f == 0 ? GroupKind::kFirst : GroupKind::kLater);
    decoder_.forward(ctx, state, latents.slice(1, f, f + 1), sink);
  }
}

void StreamedVae::encode_tile(ExecContext& ctx, const StreamPlan& stream, const FrameSource& source,
                              const TensorView& latents) const {
  const std::int64_t height = latents.dim(2) * geometry_.spatial_stride;
  const std::int64_t width = latents.dim(3) * geometry_.spatial_stride;
  Workspace::Scope scope(ctx.workspace);
  StreamState state(ctx, stream);
  for (std::int64_t f = 0; f < latents.dim(1); ++f) {
    const std::int64_t first = f == 0 ? 0 : geometry_.frames(f);
    const std::int64_t frames = f == 0 ? 1 : geometry_.temporal_stride;
    state.begin_group(f == 0 ? GroupKind::kFirst : GroupKind::kLater);
    encoder_.forward(ctx, state, source, first, {frames, height, width, 3}, latents.slice(1, f, f + 1));
  }
}

}  // namespace wan
