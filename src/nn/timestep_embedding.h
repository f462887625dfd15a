#pragma once
// The sinusoid of a diffusion timestep.

#include <span>

#include "tensor/tensor.h"

namespace wan {

/// Fills out [timesteps, width] (host, f32; width even) with cos(t w_i) for the first half and sin(t w_i) for the second,
/// w_i = 10000^(-i / (width / 2)); computed in f64.
void fill_timestep_embedding(std::span<const double> timesteps, const TensorView& out);

}  // namespace wan
