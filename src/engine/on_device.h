#pragma once
// How weights come to the device of a backend, which outlives what is loaded so.

#include "ops/backend.h"
#include "weights/block_residency.h"

namespace wan {

WeightTarget target_of(Backend& backend, DType compute);

/// With the ways to and from the device.
ResidencyOptions on_device(ResidencyOptions residency, Backend& backend);

}  // namespace wan
