#pragma once
// An engine on a backend of the caller's: tests run it on devices that no machine has.

#include <memory>

#include "ops/backend.h"
#include "wan/engine.h"

namespace wan {

/// As Engine's constructor, which chooses the backend by options.device.
Engine make_engine(const EngineOptions& options, std::unique_ptr<Backend> backend);

}  // namespace wan
