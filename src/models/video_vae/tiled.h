#pragma once
// Running a VAE over the tiles of a clip, one tile after the other through all frames, and blending the results.

#include <functional>

#include "models/video_vae.h"

namespace wan {

/// Decodes the latents [z, F, h, w] of one tile, a view of the whole clip's.
using DecodeTile = std::function<void(const TensorView& latents, const FrameConsumer& sink)>;
/// Encodes one tile's frames into latents [z, F, h, w] f32, contiguous.
using EncodeTile = std::function<void(const FrameSource& source, const TensorView& latents)>;

/// Which tiles are run. For a rehearsal the first is enough: all take the same memory.
enum class TileSet { kAll, kFirst };

/// The sink is rank 0's, which alone holds the clip.
void decode_tiled(ExecContext& ctx, const VaeGeometry& geometry, const VaePlan& plan,
                  const TensorView& latents, const FrameConsumer& sink, const DecodeTile& decode,
                  TileSet tiles = TileSet::kAll);
void encode_tiled(ExecContext& ctx, const VaeGeometry& geometry, const VaePlan& plan,
                  const FrameSource& source, const TensorView& latents, const EncodeTile& encode,
                  TileSet tiles = TileSet::kAll);

}  // namespace wan
