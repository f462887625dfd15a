#pragma once
// What ranks that divide a VAE's pictures give each other: lines of pixels next to a neighbour's part, and whole results.

#include "models/video_vae/strip.h"

namespace wan {

/// The outermost lines of a part on the divided side, rows [T, W C] or columns [T H, C]; empty where nobody needs one.
struct EdgeLines {
  TensorView first;
  TensorView last;
};

/// Of frames [T, H, W, C], contiguous.
EdgeLines edges_of(const Strip& strip, const TensorView& frames);

/// The ranks' `own` lines become their neighbours' `around`: `first` is the line before a part's first one, `last` that after its last.
/// Zeros at the picture's border.
void exchange_edges(ExecContext& ctx, const Strip& strip, const EdgeLines& own, const EdgeLines& around);

/// Fills the halo (all of strip.halo() or one end of it) of frames [T, H, W, C], contiguous, whose insides are there.
void exchange_halo(ExecContext& ctx, const Strip& strip, const TensorView& frames,
                   const SpatialPadding& halo);

/// Every rank's part [T, H, W, C] becomes a part of `whole` on rank 0; the others' `whole` is empty. All contiguous.
void gather_frames(ExecContext& ctx, const Strip& strip, const TensorView& part, const TensorView& whole);

/// Every rank's part [z, 1, h, w], contiguous, becomes a part of `whole`, of any strides, on every rank.
void gather_latents(ExecContext& ctx, const Strip& strip, const TensorView& part, const TensorView& whole);

/// Every rank's rows [n, width], one after the other's, become `all` [N, width] on every rank; n is the rank's share of N. Contiguous.
void gather_rows(ExecContext& ctx, const Strip& strip, const TensorView& rows, const TensorView& all);

}  // namespace wan
