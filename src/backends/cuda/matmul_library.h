#pragma once
// Matrix products through cuBLASLt, with what it can fuse.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/cuda/tuner.h"
#include "ops/exec_context.h"

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// out[m, n] = gelu?(sum_k x[m, k] weight[n, k] + bias[n]), sums in f32 and never in TF32. x and weight of one type; out
/// f32, or bf16 where they are; bias of out's type or missing; rows of x and out may be strided. GELU is the tanh form.
struct MatmulProblem {
  TensorView x;
  TensorView weight;
  TensorView bias;
  TensorView out;
  bool gelu = false;
};

/// out[b, m, n] = sum_k x[b, m, k] y[b, n, k], sums as above. x [B, M, K], dense in K; y [B, N, K], of x's type, dense in K or
/// in N; out [B, M, N], dense in N, f32, or bf16 where x is.
struct BatchedProduct {
  TensorView x;
  TensorView y;
  TensorView out;
};

/// Plans are kept under everything that they depend on. One thread at a time.
class MatmulLibrary {
 public:
  /// tuner: chooses among the algorithms of large products; nullptr: the library's first choice.
  explicit MatmulLibrary(Tuner* tuner);
  ~MatmulLibrary();

  /// Enqueues the product; false, and nothing is done, where the library has no algorithm for it.
  bool run(cudaStream_t stream, Allocator& allocator, const MatmulProblem& problem);
  bool run(cudaStream_t stream, Allocator& allocator, const BatchedProduct& product);
  /// Problems that have a plan, those without an algorithm included.
  std::size_t plans() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan::cuda
