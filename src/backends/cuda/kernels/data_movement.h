#pragma once
// Launchers of the kernels that move elements. Arguments are validated by the op.

#include <cstdint>
#include <span>

#include "backends/cuda/check.h"
#include "ops/copy.h"
#include "ops/patchify.h"

namespace wan::cuda {

/// Any strides (0 too, on the reading side), any pair of dtypes that the op allows. Also upsampling, through strides.
void launch_copy(cudaStream_t stream, const CopyArgs& args);

/// All bits 0.
void launch_fill_zero(cudaStream_t stream, const TensorView& view);

/// out[i] = table[ids[i]]; the ids travel with the launch.
void launch_embedding(cudaStream_t stream, const TensorView& table, std::span<const std::int64_t> ids,
                      const TensorView& out);

void launch_patchify(cudaStream_t stream, const PatchifyArgs& args);
void launch_unpatchify(cudaStream_t stream, const UnpatchifyArgs& args);

}  // namespace wan::cuda
