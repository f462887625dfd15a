#pragma once
// Which device an engine computes on.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

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

/// One of the processes that make an engine together.
struct ProcessPlace {
  int process = 0;
  int processes = 1;
  int local_rank = 0;  // among those of its machine
  int local_size = 1;
};

/// A rank each, this process's. Of options.gpus, or options.device: "cpu", "cuda", "cuda:N", or "auto": the first GPUs where as many as
/// options.ulysses_size are usable, otherwise the CPU. options.ulysses_size counts the ranks of all processes, options.gpus are those of each
/// machine, and the processes of a machine take different ones. Throws InvalidArgument for what contradicts itself and Unsupported, with the
/// reason, where a device cannot be used.
std::vector<ChosenBackend> make_backends(const EngineOptions& options, const ProcessPlace& place = {});

/// What one backend alone is for, where that is not a video.
enum class BackendUse {
  kAnything,
  kCoordinates,  // results become coordinates: convolutions multiply f32 as it is, never in TF32
  kFewProducts,  // each product runs a few times: no trial of several algorithms, which would take longer than it gains
};

/// The first of them.
ChosenBackend make_backend(const EngineOptions& options, BackendUse use = BackendUse::kAnything);

/// With options.t5_cpu the CPU for the text encoder, where `backend` is a device's; otherwise nullptr.
std::unique_ptr<Backend> make_text_backend(const EngineOptions& options, const Backend& backend);

}  // namespace wan
