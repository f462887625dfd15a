#pragma once
// VideoVae: between video frames and latents, one group of frames at a time.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "ops/exec_context.h"

namespace wan {

/// A latent stands for spatial_stride x spatial_stride pixels and temporal_stride frames; the first latent of a
/// clip stands for its first frame alone.
struct VaeGeometry {
  std::int64_t z_dim;
  int temporal_stride;
  int spatial_stride;

  std::int64_t frames(std::int64_t latent_frames) const { return 1 + (latent_frames - 1) * temporal_stride; }
  std::int64_t latent_frames(std::int64_t frames) const { return 1 + (frames - 1) / temporal_stride; }
};

/// One clip: [z_dim, frames, height, width] latents.
struct LatentExtent {
  std::int64_t frames;
  std::int64_t height;
  std::int64_t width;
};

/// How a clip is computed within a given memory. Made by plan_decode and plan_encode.
struct VaePlan {
  bool frame_by_frame = false;   // a group's frames pass the layers one by one: less memory, smaller products
  bool compact_history = false;  // feature caches hold past frames only: less memory, more copies
  std::int64_t tile_height =
      0;  // extent of a tile in latents; of the whole clip where there is one tile only
  std::int64_t tile_width = 0;
  std::int64_t overlap_height = 0;  // latents that neighbouring tiles share at least, blended linearly
  std::int64_t overlap_width = 0;
  std::size_t bytes = 0;  // peak of the workspace
};

/// Takes the next frames, [T, H, W, 3] f32 contiguous on the backend's device, valid during the call. Values are
/// about [-1, 1] and not clamped.
using FrameConsumer = std::function<void(const TensorView& frames)>;

/// Fills `frames` [T, H, W, 3] f32 (on the backend's device, contiguous) with the clip's frames from `first` on,
/// in [-1, 1]. With tiles it is asked for the same frames several times.
using FrameSource = std::function<void(std::int64_t first, const TensorView& frames)>;

class VaePlans;

/// Encodes and decodes on all ranks of the context's communicator, which make the same calls: each computes a strip of every picture,
/// rows or columns, whichever are more. Where these are fewer latents than ranks, rank 0 decodes and every rank encodes the whole.
class VideoVae {
 public:
  virtual ~VideoVae() = default;
  virtual VaeGeometry geometry() const = 0;

  /// The ways to compute a clip (models/video_vae/plan.h), their bytes those of rehearsals: in a VAE on a
  /// WeightScope::rehearsing() or a loaded one. `device`: whose ops' scratch counts too; it outlives the result, as this does.
  /// The bytes are those of the first of so many ranks; no other one takes more.
  virtual VaePlans decode_plans(const LatentExtent& extent, Backend* device, int ranks) const = 0;
  virtual VaePlans encode_plans(const LatentExtent& extent, Backend* device, int ranks) const = 0;

  /// The first of these within `byte_budget`, see VaePlans::within.
  VaePlan plan_decode(const LatentExtent& extent, std::size_t byte_budget, Backend* device = nullptr,
                      int ranks = 1) const;
  VaePlan plan_encode(const LatentExtent& extent, std::size_t byte_budget, Backend* device = nullptr,
                      int ranks = 1) const;

  /// latents [z_dim, F, h, w] f32, normalised as the transformer sees them, the same on every rank. Groups of 1, then temporal_stride
  /// frames go to rank 0's sink, as they are ready where the plan has one tile, after the last tile otherwise. With
  /// one tile memory does not depend on F. Throws Cancelled, on several ranks between two groups and on all of them.
  virtual void decode(ExecContext& ctx, const TensorView& latents, const VaePlan& plan,
                      const FrameConsumer& sink) const = 0;

  /// latents [z_dim, F, h, w] f32 = normalised mean of the posterior of the clip's geometry().frames(F) frames of
  /// h x w times spatial_stride pixels. Every rank's source gives the same frames, and every rank gets all latents.
  virtual void encode(ExecContext& ctx, const FrameSource& source, const VaePlan& plan,
                      const TensorView& latents) const = 0;
};

}  // namespace wan
