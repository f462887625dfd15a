#pragma once
// The attention of tensor cores: our own for Hopper, cuDNN's elsewhere. Both take what is_bf16_attention() says; Hopper's takes a
// key_bias too, and HopperScratch from the workspace.

#include <memory>

#include "ops/attention.h"

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Whether this build has code for the Hopper kernels; the device is another question.
bool has_hopper_attention();
/// args as is_bf16_attention() says, with or without key_bias, on a device of compute capability 9.0.
void run_hopper_attention(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                          const AttentionArgs& args);

/// cuDNN's scaled dot product attention. Plans are kept under everything that they depend on. One thread at a time.
class AttentionLibrary {
 public:
  AttentionLibrary();
  ~AttentionLibrary();

  /// False, and nothing is done, where cuDNN has no plan for it.
  bool run(cudaStream_t stream, Workspace& workspace, const AttentionArgs& args);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan::cuda
