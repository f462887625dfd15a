#pragma once
// Three-axis rotary position embedding: cosines and sines of a token's time, row and column.

#include <span>

#include "nn/token_layout.h"

namespace wan {

/// Fills table [positions, head_dim / 2, 2] (host, f32) with cos and sin of position / 10000^(2i / d), where of the
/// head's pairs the last head_dim / 6 belong to the column, the head_dim / 6 before them to the row, the rest to time,
/// and d is each axis' own width. Angles in f64, as the official model computes them. Positions are used as they are:
/// the official table of 1,024 entries an axis is no limit here.
void fill_rope_table(std::span<const TokenPosition> positions, std::int64_t head_dim,
                     const TensorView& table);

}  // namespace wan
