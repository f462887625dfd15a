#include "models/video_vae/streamed_vae.h"

#include <algorithm>
#include <utility>

#include "models/video_vae/strip_exchange.h"
#include "models/video_vae/tiled.h"
#include "ops/counting_backend.h"

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

/// Latent frames after which memory grows no more: the first group is smaller, in the second a cache's oldest frame is not
/// in front.
std::int64_t rehearsed(std::int64_t frames) {
  return std::min<std::int64_t>(frames, 3);
}

Shape latents_shape(const VaeGeometry& geometry, const LatentExtent& extent) {
  return {geometry.z_dim, extent.frames, extent.height, extent.width};
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

StreamPlan StreamedVae::decode_stream(const ExecContext& ctx, const VaePlan& plan,
                                      std::int64_t frames) const {
  StreamPlan stream{.options = stream_options(plan),
                    .strip = Strip(ctx.communicator, plan.tile_height, plan.tile_width),
                    .groups = {}};
  Rehearsal rehearsal(ctx.backend.device());
  const Tensor latents(rehearsal.backend.allocator(), DType::kF32,
                       {geometry_.z_dim, rehearsed(frames), plan.tile_height, plan.tile_width});
  const Workspace::Scope scope(rehearsal.workspace);
  StreamState state = StreamState::noting(stream);
  decode_groups(rehearsal.ctx, state, latents, [](const TensorView&) {});
  return stream;
}

StreamPlan StreamedVae::encode_stream(const ExecContext& ctx, const VaePlan& plan,
                                      std::int64_t frames) const {
  StreamPlan stream{.options = stream_options(plan),
                    .strip = Strip(ctx.communicator, plan.tile_height, plan.tile_width),
                    .groups = {}};
  Rehearsal rehearsal(ctx.backend.device());
  const Tensor latents(rehearsal.backend.allocator(), DType::kF32,
                       {geometry_.z_dim, rehearsed(frames), plan.tile_height, plan.tile_width});
  const Workspace::Scope scope(rehearsal.workspace);
  StreamState state = StreamState::noting(stream);
  encode_groups(
      rehearsal.ctx, state, [](std::int64_t, const TensorView&) {}, latents);
  return stream;
}

std::size_t StreamedVae::decode_bytes(const LatentExtent& extent, const VaePlan& plan, Backend* device,
                                      int ranks) const {
  Rehearsal rehearsal(device, ranks);
  const StreamPlan stream = decode_stream(rehearsal.ctx, plan, extent.frames);
  const Tensor latents(rehearsal.backend.allocator(), DType::kF32, latents_shape(geometry_, extent));
  decode_tiled(
      rehearsal.ctx, geometry_, plan, latents, [](const TensorView&) {},
      [&](const TensorView& tile, const FrameConsumer& sink) {
        decode_tile(rehearsal.ctx, stream, tile.slice(1, 0, rehearsed(extent.frames)), sink);
      },
      TileSet::kFirst);
  return rehearsal.workspace.most();
}

std::size_t StreamedVae::encode_bytes(const LatentExtent& extent, const VaePlan& plan, Backend* device,
                                      int ranks) const {
  Rehearsal rehearsal(device, ranks);
  const StreamPlan stream = encode_stream(rehearsal.ctx, plan, extent.frames);
  const Tensor latents(rehearsal.backend.allocator(), DType::kF32, latents_shape(geometry_, extent));
  encode_tiled(
      rehearsal.ctx, geometry_, plan, [](std::int64_t, const TensorView&) {}, latents,
      [&](const FrameSource& frames, const TensorView& tile) {
        encode_tile(rehearsal.ctx, stream, frames, tile.slice(1, 0, rehearsed(extent.frames)));
      },
      TileSet::kFirst);
  return rehearsal.workspace.most();
}

VaePlans StreamedVae::decode_plans(const LatentExtent& extent, Backend* device, int ranks) const {
  return {"VAE decode", extent, [this, extent, device, ranks](const VaePlan& plan) {
            return decode_bytes(extent, plan, device, ranks);
          }};
}

VaePlans StreamedVae::encode_plans(const LatentExtent& extent, Backend* device, int ranks) const {
  return {"VAE encode", extent, [this, extent, device, ranks](const VaePlan& plan) {
            return encode_bytes(extent, plan, device, ranks);
          }};
}

VaePlan VideoVae::plan_decode(const LatentExtent& extent, std::size_t byte_budget, Backend* device,
                              int ranks) const {
  return decode_plans(extent, device, ranks).within(byte_budget);
}

VaePlan VideoVae::plan_encode(const LatentExtent& extent, std::size_t byte_budget, Backend* device,
                              int ranks) const {
  return encode_plans(extent, device, ranks).within(byte_budget);
}

void StreamedVae::decode(ExecContext& ctx, const TensorView& latents, const VaePlan& plan,
                         const FrameConsumer& sink) const {
  check_latents("VAE decode", geometry_, latents);
  check_plan("VAE decode", latents, plan);
  const StreamPlan stream = decode_stream(ctx, plan, latents.dim(1));
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
  const StreamPlan stream = encode_stream(ctx, plan, latents.dim(1));
  ctx.workspace.reserve(plan.bytes);
  encode_tiled(ctx, geometry_, plan, source, latents, [&](const FrameSource& frames, const TensorView& tile) {
    encode_tile(ctx, stream, frames, tile);
  });
}

void StreamedVae::decode_tile(ExecContext& ctx, const StreamPlan& stream, const TensorView& latents,
                              const FrameConsumer& sink) const {
  const Workspace::Scope scope(ctx.workspace);
  StreamState state(ctx, stream);
  decode_groups(ctx, state, latents, sink);
}

void StreamedVae::decode_groups(ExecContext& ctx, StreamState& state, const TensorView& latents,
                                const FrameConsumer& sink) const {
  const Strip& strip = state.strip();
  const bool receives = ctx.communicator.rank() == 0;
  const FrameConsumer gather = [&](const TensorView& part) {
    const Workspace::Scope scope(ctx.workspace);
    TensorView whole;
    if (receives) whole = ctx.workspace.take(part.dtype(), strip.whole_of(part.shape()));
    gather_frames(ctx, strip, part, whole);
    if (receives) sink(whole);
  };
  const TensorView part = strip.part_of(latents, 2);
  for (std::int64_t f = 0; f < latents.dim(1); ++f) {
    ctx.check_cancelled_together();
    if (!strip.divided() && !receives) continue;
    state.begin_group(f == 0 ? GroupKind::kFirst : GroupKind::kLater);
    decoder_.forward(ctx, state, part.slice(1, f, f + 1), strip.divided() ? gather : sink);
  }
}

void StreamedVae::encode_tile(ExecContext& ctx, const StreamPlan& stream, const FrameSource& source,
                              const TensorView& latents) const {
  const Workspace::Scope scope(ctx.workspace);
  StreamState state(ctx, stream);
  encode_groups(ctx, state, source, latents);
}

void StreamedVae::encode_groups(ExecContext& ctx, StreamState& state, const FrameSource& source,
                                const TensorView& latents) const {
  const Strip& strip = state.strip();
  const TensorView frame = strip.part_of(latents, 2).slice(1, 0, 1);
  const std::int64_t height = frame.dim(2) * geometry_.spatial_stride;
  const std::int64_t width = frame.dim(3) * geometry_.spatial_stride;
  const Workspace::Scope scope(ctx.workspace);
  TensorView part;
  if (strip.divided()) part = ctx.workspace.take(DType::kF32, frame.shape());
  for (std::int64_t f = 0; f < latents.dim(1); ++f) {
    ctx.check_cancelled_together();
    const std::int64_t first = f == 0 ? 0 : geometry_.frames(f);
    const std::int64_t frames = f == 0 ? 1 : geometry_.temporal_stride;
    state.begin_group(f == 0 ? GroupKind::kFirst : GroupKind::kLater);
    const TensorView latent = latents.slice(1, f, f + 1);
    encoder_.forward(ctx, state, source, first, {frames, height, width, 3}, strip.divided() ? part : latent);
    if (strip.divided()) gather_latents(ctx, strip, part, latent);
  }
}

}  // namespace wan
