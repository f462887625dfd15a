#pragma once
// How long idle threads of the OpenMP runtime spin before they sleep.

#include <memory>

namespace wan {

class ShortSpins;

/// While this is held, GNU's OpenMP runtime lets a waiting thread of this process spin for some microseconds instead of
/// milliseconds. With its default, on a machine that other programs keep busy, a thread that spins takes the processor
/// from the one it waits for, and a small model runs ten times slower. On an idle machine short spins cost a small model
/// something, and a large one nothing.
///
/// The runtime reads its settings (OMP_WAIT_POLICY, GOMP_SPINCOUNT) before any code of ours runs, but it also spins shortly
/// by itself while it manages more threads than there are processors. So a thread of ours holds a team of that size
/// asleep. Whoever sets one of the two variables is left alone: nullptr, as with any other runtime, and where the process
/// may not have so many threads beside `threads` of an op.
std::shared_ptr<ShortSpins> hold_short_spins(int threads);

}  // namespace wan
