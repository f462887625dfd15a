#pragma once
// What a person or a machine that goes down asks of the program while it computes.

#include <atomic>

namespace wan {

/// From now on the first Ctrl-C, a termination or a terminal that closes sets what this gives back instead of ending the process. To be
/// called on the main thread.
const std::atomic<bool>& watch_signals();

}  // namespace wan
