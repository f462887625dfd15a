#pragma once
// A GPU that this machine need not have, for plans.

#include <cstdint>
#include <memory>

#include "ops/backend.h"

namespace wan {

/// A GPU of so much memory with nothing in it. It computes nothing, and says what a real one would take beside a run's tensors.
std::unique_ptr<Backend> make_absent_gpu(std::int64_t bytes);

}  // namespace wan
