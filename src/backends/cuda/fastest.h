#pragma once
// The fastest of several ways to do the same, by trying them.

#include <limits>

#include "backends/cuda/handles.h"

namespace wan::cuda {

/// The candidate below `count` that takes least time, or -1: run(i) enqueues candidate i on the stream, false where it cannot.
/// Each runs once uncounted; the least of three counts. Waits for the device.
template <typename Run>
int fastest(cudaStream_t stream, int count, Run&& run) {
  Event begin(Event::Kind::kTimed);
  Event end(Event::Kind::kTimed);
  int best = -1;
  float least = std::numeric_limits<float>::infinity();
  for (int i = 0; i < count; ++i) {
    if (!run(i)) continue;
    for (int repeat = 0; repeat < 3; ++repeat) {
      begin.record(stream);
      run(i);
      end.record(stream);
      const float milliseconds = end.milliseconds_since(begin);
      if (milliseconds >= least) continue;
      least = milliseconds;
      best = i;
    }
  }
  return best;
}

}  // namespace wan::cuda
