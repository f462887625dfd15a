#pragma once
// The benchmark on backends of the caller's: tests run it on devices that no machine has.

#include <functional>
#include <memory>

#include "ops/backend.h"
#include "wan/benchmark.h"

namespace wan {

/// As the public one, which chooses the backends by options.device. Every phase asks for a backend of its own.
BenchmarkResult run_benchmark(const BenchmarkOptions& options,
                              const std::function<std::unique_ptr<Backend>()>& make_backend,
                              const std::function<void(const BenchmarkRow&)>& on_row);

}  // namespace wan
