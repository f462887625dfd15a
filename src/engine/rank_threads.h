#pragma once
// A thread each for ranks that work on one thing, and what becomes of all of them when one fails.

#include <chrono>
#include <functional>
#include <span>

#include "tensor/device.h"
#include "wan/error.h"

namespace wan {

/// How long a rank may go on after another one has failed.
inline constexpr std::chrono::seconds kEndOfRanks{30};

/// Calls work(rank) for the rank of each of `devices`, on a thread each where there are several. When one throws, abort() with it ends the
/// others' work, and what rank 0 makes of it is thrown: the first failure, and what it has kept; or the first failure where rank 0 was through.
/// A rank that does not end within `patience` of that, as its device does not answer, cannot be ended: the failure is logged, and the process
/// exits with its status. Time in which anyone_rests(), as a rank does that keeps what was reached, does not count.
void on_rank_threads(std::span<const Device> devices, const std::function<void(int rank)>& work,
                     const std::function<void(int rank, const Error& cause)>& abort,
                     const std::function<bool()>& anyone_rests,
                     std::chrono::milliseconds patience = kEndOfRanks);

}  // namespace wan
