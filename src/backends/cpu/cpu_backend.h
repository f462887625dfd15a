#pragma once
// The CPU backend: oneDNN for matrix products and convolutions, vector kernels of its own for the rest.

#include <memory>

#include "ops/backend.h"

namespace wan {

struct CpuBackendOptions {
  /// Threads of one op; 0: available_cpus(). Ranks that are threads of one process share the processors:
  /// give each its part.
  int threads = 0;
};

/// Processors that this process may use: its affinity mask, and the control group's quota rounded up.
int available_cpus();

/// Of the vector kernels that this processor runs: "avx512", "avx2", "baseline". Throws InvalidArgument where WAN_CPU_ISA asks for others.
const char* cpu_instruction_set();

/// Ops may run on several threads at once, each with an ExecContext (and so a workspace) of its own.
std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options = {});

}  // namespace wan
