#pragma once
// Convolutions through cuDNN, with the bias fused where it can.

#include <memory>

#include "backends/cuda/tuner.h"
#include "ops/conv3d.h"

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Plans are kept under everything that they depend on. One thread at a time.
class ConvolutionLibrary {
 public:
  /// tuner: chooses among the plans of large convolutions; nullptr: the library's first choice.
  ConvolutionLibrary(bool tf32, Tuner* tuner);
  ~ConvolutionLibrary();

  /// Enqueues the convolution with the bias that args may have; no residual. x, weight and out of one dtype, bias f32, padding
  /// equal on opposite sides. scratch: bytes for the plan; one that needs more takes them from the workspace. False, and nothing is
  /// done, where cuDNN has no plan for it.
  bool run(cudaStream_t stream, Workspace& workspace, const TensorView& scratch, const Conv3dArgs& args);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan::cuda
