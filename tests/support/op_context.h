#pragma once
// OpContext: what an op's tests run on. Each test executable has one kind of backend, chosen by the file it is linked with
// (tests/support/op_backend_*.cpp): the CPU's kernels, CUDA's kernels emulated on the CPU, or a GPU. Views are host
// memory on all of them.

#include <memory>

#include "ops/backend.h"
#include "ops/exec_context.h"

namespace wan::test {

/// A backend that takes host memory, and what tests must know of it.
struct OpBackend {
  std::unique_ptr<Backend> backend;
  Workspace* workspace = nullptr;        // the device's, where that is not the context's
  bool tf32_convolutions = false;        // f32 convolutions round their inputs to 11 bits
  bool rounds_bias_to_bf16 = false;      // beside a bf16 result, as the official code does
  bool has_every_kernel = false;         // no op needs its composite
  bool scratch_grows_with_keys = false;  // attention's
};

/// threads: of the CPU's backend.
OpBackend make_op_backend(int threads);

/// Fails where an op would fall back to its composite.
class OpContext {
 public:
  explicit OpContext(int threads = 2)
      : made_(make_op_backend(threads)), backend(*made_.backend), ctx{backend,      workspace,
                                                                      communicator, {},
                                                                      nullptr,      /*require_fused=*/true} {}

  const OpBackend& traits() const { return made_; }
  /// Of the workspace that ops take their scratch from.
  const Workspace& scratch() const { return made_.workspace != nullptr ? *made_.workspace : workspace; }

 private:
  OpBackend made_;

 public:
  Backend& backend;
  Workspace workspace{cpu_allocator()};
  SelfCommunicator communicator;
  ExecContext ctx;
};

}  // namespace wan::test
