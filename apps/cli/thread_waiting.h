#pragma once
// How long idle threads of the OpenMP runtime spin before they sleep.

namespace wan {

/// GNU's default is long: on a machine that other programs keep busy, a thread that spins takes the processor from the one
/// it waits for, and a small model runs ten times slower. A short spin costs a small model up to a quarter on an idle
/// machine, and a large one nothing. The runtime reads its settings when it is loaded, before any code of ours, so the
/// program starts itself anew with GOMP_SPINCOUNT set, once. Whoever sets OMP_WAIT_POLICY or GOMP_SPINCOUNT is left alone.
void restart_with_short_spins(char** argv);

}  // namespace wan
