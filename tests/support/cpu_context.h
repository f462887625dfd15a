#pragma once
// An ExecContext on the CPU backend that fails where an op would fall back to its composite.

#include "backends/cpu/cpu_backend.h"
#include "ops/backend.h"
#include "ops/exec_context.h"

namespace wan::test {

class CpuContext {
 public:
  explicit CpuContext(int threads = 2) : backend(make_cpu_backend({.threads = threads})) {}

  std::unique_ptr<Backend> backend;
  Workspace workspace{cpu_allocator()};
  SelfCommunicator communicator;
  ExecContext ctx{*backend, workspace, communicator, {}, nullptr, /*require_fused=*/true};
};

}  // namespace wan::test
