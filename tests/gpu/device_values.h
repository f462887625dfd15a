#pragma once
// Tensors on the device with random values, and their way back, for sizes at which a host's composite takes too long.

#include "backends/cuda/cuda_backend.h"
#include "support/compare.h"
#include "support/guarded.h"

namespace wan::test {

/// An ExecContext on a GPU.
class GpuContext {
 public:
  explicit GpuContext(const CudaBackendOptions& options = {}) : backend(make_cuda_backend(options)) {}

  std::unique_ptr<Backend> backend;
  Workspace workspace{backend->allocator()};
  SelfCommunicator communicator;
  ExecContext ctx{*backend, workspace, communicator, {}, nullptr, /*require_fused=*/true};

  Tensor empty(DType dtype, const Shape& shape) { return {backend->allocator(), dtype, shape}; }
  /// The device's generator, rounded to dtype.
  Tensor random(DType dtype, const Shape& shape, std::uint64_t seed, double scale = 1.0) {
    const Tensor f32 = empty(DType::kF32, shape);
    backend->draw_cuda_normals(
        {.seed = seed, .multiprocessors = 100, .threads_per_multiprocessor = 2048, .out = f32});
    linear_combination(ctx, {{{scale, f32}}, f32});
    Tensor made = empty(dtype, shape);
    copy(ctx, {f32, made});
    return made;
  }
  Tensor on_device(const TensorView& host) {
    Tensor made = empty(host.dtype(), host.shape());
    backend->upload(host, made);
    return made;
  }
  Tensor on_host(const TensorView& device) {
    Tensor made(device.dtype(), device.shape());
    backend->download(device, made);
    return made;
  }
};

}  // namespace wan::test
