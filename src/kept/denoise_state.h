#pragma once
// The sampler's state: what a run is made of between two steps.

#include <vector>

#include "tensor/tensor.h"

namespace wan {

/// On the device.
struct DenoiseState {
  std::vector<Tensor> slots;  // by Scheduler slot, [C, F, h, w] f32
  int next_step = 0;
};

}  // namespace wan
