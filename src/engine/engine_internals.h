#pragma once
// The engine on backends of the caller's: tests run them on devices that no machine has.

#include <memory>
#include <vector>

#include "ops/backend.h"
#include "wan/engine.h"

namespace wan {

/// "fp32" or "bf16". Throws InvalidArgument, naming the member, which is given as "`precision`".
DType parse_precision(const char* member, const std::string& precision);

/// As Engine's constructor, which chooses the backend by options.device.
Engine make_engine(const EngineOptions& options, std::unique_ptr<Backend> backend);
/// With a rank for each of the backends, which are of host memory.
Engine make_engine(const EngineOptions& options, std::vector<std::unique_ptr<Backend>> backends);

}  // namespace wan
