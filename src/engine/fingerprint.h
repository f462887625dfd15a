#pragma once
// Whether the checkpoints of two machines are one.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/loaded_models.h"

namespace wan {

/// A number for what the checkpoint holds: names, types and shapes of all tensors, values of some.
std::uint64_t fingerprint_of(const Checkpoint& checkpoint);

/// A number for each part of a checkpoint, which its names, shapes, dtypes and samples of its values determine: a few pages are read of
/// each.
std::vector<std::pair<std::string, std::uint64_t>> checkpoint_fingerprint(const CheckpointModels& models);

}  // namespace wan
