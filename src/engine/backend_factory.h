#pragma once
// Which device an engine computes on.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "diffusion/random.h"
#include "ops/backend.h"
#include "wan/engine.h"

namespace wan {

/// A backend, and what the engine must know of its device.
struct ChosenBackend {
  std::unique_ptr<Backend> backend;
  CudaLaunchGrid grid = kDefaultCudaGrid;                   // what "torch-cuda" without a grid means
  std::function<std::optional<double>()> utilization = {};  // empty on the CPU
};

/// By options.device: "cpu", "cuda", "cuda:N", or "auto": the first GPU where one is usable, otherwise the CPU. Throws
/// InvalidArgument for other names and Unsupported, with the reason, where the device cannot be used.
ChosenBackend make_backend(const EngineOptions& options);

/// With options.t5_cpu the CPU for the text encoder, where `backend` is a device's; otherwise nullptr.
std::unique_ptr<Backend> make_text_backend(const EngineOptions& options, const Backend& backend);

}  // namespace wan
