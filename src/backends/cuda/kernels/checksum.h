#pragma once
// A number that tells whether two results are the same bits.

#include "tensor/tensor.h"

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// *sum += a mix of every element's place and bits. x: f32 or bf16, up to 4 dimensions of any stride. sum: on the device. The
/// order of the additions does not matter.
void launch_checksum(cudaStream_t stream, const TensorView& x, unsigned long long* sum);

}  // namespace wan::cuda
