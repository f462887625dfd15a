#pragma once
// Upsampling and the convolution after it, without the whole upsampled frame in between: it has four times the values of
// its source, more than anything else at the resolution.

#include "models/video_vae/strip_exchange.h"
#include "nn/causal_conv3d.h"

namespace wan {

/// conv: 1 x 3 x 3 of stride 1 that pads columns alone; upsample_conv() sees to the rows.
struct UpsampleConvArgs {
  TensorView x;         // [T, H, W, in]
  std::int64_t rows;    // of x that are upsampled at once
  TensorView residual;  // like out, or empty; may be out itself
  TensorView out;       // [T, 2H, 2W, out]
  Strip strip = {};     // whose part of wider or higher pictures these are
};

/// out = conv(x at twice the height and width, nearest neighbours) (+ residual), frame by frame, band by band. On several ranks the
/// neighbours' pixels are exchanged before they are upsampled.
void upsample_conv(ExecContext& ctx, const CausalConv3d& conv, const UpsampleConvArgs& args);

/// Rows of frames [T, H, W, C] whose upsampled values are 8 million, 32 MiB in f32: enough for any GPU, and near a CPU's
/// caches.
std::int64_t upsample_conv_rows(const Shape& x);

}  // namespace wan
