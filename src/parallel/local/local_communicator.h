#pragma once
// Ranks as threads of one process, exchanging through shared host memory: every parallel path runs without a
// GPU.

#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace wan {

/// One communicator a rank, to be used by one thread each. A rank whose communicator is destroyed before the
/// others have finished aborts the group.
std::vector<std::unique_ptr<Communicator>> make_local_communicators(int size);

}  // namespace wan
