#pragma once
// Launchers of the element-wise kernels. Arguments are validated by the op.

#include "backends/cuda/check.h"
#include "ops/activation.h"
#include "ops/gated_activation.h"
#include "ops/gated_residual.h"
#include "ops/linear_combination.h"

namespace wan::cuda {

void launch_activation(cudaStream_t stream, const ActivationArgs& args);
void launch_gated_activation(cudaStream_t stream, const GatedActivationArgs& args);
void launch_gated_residual(cudaStream_t stream, const GatedResidualArgs& args);
void launch_linear_combination(cudaStream_t stream, const LinearCombinationArgs& args);

/// The end of a product that the library could not finish: out[m, n] = activation(x[m, n] + bias[n]). x and out f32 or
/// bf16, rows may be strided, out may be x; bias may be empty.
struct FinishRowsArgs {
  TensorView x;
  TensorView bias;
  ActivationKind activation = ActivationKind::kNone;
  TensorView out;
};
void launch_finish_rows(cudaStream_t stream, const FinishRowsArgs& args);

/// The end of a convolution: out[t, p, c] = x[t, p, c] + bias[c] + residual[t, p, c]. Views [T, H, W, C] of f32 or bf16
/// whose frames may be strided; bias and residual may be empty; out may be x or residual.
struct FinishFramesArgs {
  TensorView x;
  TensorView bias;
  TensorView residual;
  TensorView out;
};
void launch_finish_frames(cudaStream_t stream, const FinishFramesArgs& args);

/// *count += elements of x (contiguous f32 or bf16) that are NaN or infinite. count: on the device.
void launch_count_non_finite(cudaStream_t stream, const TensorView& x, unsigned long long* count);

}  // namespace wan::cuda
