#pragma once
// Choosing how a clip is computed within a given memory.

#include <functional>

#include "models/video_vae.h"

namespace wan {

/// Workspace bytes of a clip under a plan (whose own `bytes` is not looked at).
using PlanBytes = std::function<std::size_t(const VaePlan& plan)>;

/// The plan that VideoVae::plan_decode and plan_encode promise; `what` ("VAE decode") begins the messages.
VaePlan choose_plan(const char* what, const LatentExtent& extent, std::size_t byte_budget,
                    const PlanBytes& bytes);

}  // namespace wan
