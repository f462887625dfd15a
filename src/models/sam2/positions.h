#pragma once
// Position embeddings of SAM 2, on the host: f32 rows, one a token of a square picture in row-major order.

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace wan::sam2 {

/// The trunk's: `background` [1, C, g, g] enlarged by cubic interpolation (a = -0.75), plus `window` [1, C, w, w] repeated. out [size * size, C].
void trunk_positions(const TensorView& background, const TensorView& window, std::int64_t size,
                     const TensorView& out);

/// Sines and cosines of row, then of column, which go from 2 pi / size to 2 pi, of wavelengths up to 10000. out [size * size, dim], dim a
/// multiple of 4.
void sine_positions(std::int64_t size, const TensorView& out);

/// What a point at x, y, each in [0, 1], is to the prompts: sines, then cosines of directions. frequencies [2, dim / 2], out of dim values.
void point_position(const TensorView& frequencies, float x, float y, std::span<float> out);

/// The same of the middle of each token: out [size * size, dim].
void grid_positions(const TensorView& frequencies, std::int64_t size, const TensorView& out);

/// Cosine and sine of each rotary pair of a head: the first half of the pairs turns with the column, the second with the row. out [size * size, width / 2, 2].
void rotary_table(std::int64_t size, const TensorView& out);

}  // namespace wan::sam2
