#pragma once
// Backend: a device and the ops that it runs.

#include "ops/ops.h"
#include "tensor/compute_device.h"

namespace wan {

class Backend : public ComputeDevice, public Ops {};

}  // namespace wan
