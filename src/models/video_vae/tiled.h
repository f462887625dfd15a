#pragma once
// Running a VAE over the tiles of a clip, one tile after the other through all frames, and blending the results.

#include <functional>

#include "models/video_vae.h"

namespace wan {

/// Decodes the latents [z, F, h, w] of one tile, a view of the whole clip's.
using DecodeTile = std::function<void(const TensorView& latents, const FrameConsumer& sink)>;
/// Encodes one tile's frames into latents [z, F, h, w] f32, contiguous.
using EncodeTile = std::function<void(const FrameSource& source, const TensorView& latents)>;

void decode_tiled(ExecContext& ctx, const VaeGeometry& geometry, const VaePlan& plan,
                  const TensorView& latents, const FrameConsumer& sink, const DecodeTile& decode);
void encode_tiled(ExecContext& ctx, const VaeGeometry& geometry, const VaePlan& plan,
                  const FrameSource& source, const TensorView& latents, const EncodeTile& encode);

/// Workspace bytes that these take beside what a tile takes; 0 where the plan has one tile.
std::size_t decode_tiled_bytes(const VaeGeometry& geometry, const LatentExtent& extent, const VaePlan& plan);
std::size_t encode_tiled_bytes(const VaeGeometry& geometry, const LatentExtent& extent, const VaePlan& plan);

}  // namespace wan
