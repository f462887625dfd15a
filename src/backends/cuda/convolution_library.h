#pragma once
// Convolutions through cuDNN, with bias and residual fused where it can.

#include <memory>

#include "ops/conv3d.h"

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Plans are kept under everything that they depend on. One thread at a time.
class ConvolutionLibrary {
 public:
  /// tune: see CudaBackendOptions.
  ConvolutionLibrary(bool tf32, bool tune);
  ~ConvolutionLibrary();

  /// Enqueues the convolution with the bias and residual that args have. x, weight, out and residual of one dtype, bias
  /// f32, padding equal on opposite sides. False, and nothing is done, where cuDNN has no plan for it.
  bool run(cudaStream_t stream, Workspace& workspace, const Conv3dArgs& args);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan::cuda
