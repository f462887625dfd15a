#pragma once
// The benchmark on backends of the caller's: tests run it on devices that no machine has.

#include <functional>
#include <memory>
#include <vector>

#include "ops/backend.h"
#include "wan/benchmark.h"

namespace wan {

/// As the public one, which chooses the backends, a rank's each, by the options. Every phase asks for backends of its own.
BenchmarkResult run_benchmark(const BenchmarkOptions& options,
                              const std::function<std::vector<std::unique_ptr<Backend>>()>& make_backends,
                              const std::function<void(const BenchmarkRow&)>& on_row);

}  // namespace wan
