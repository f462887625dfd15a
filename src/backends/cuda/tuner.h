#pragma once
// Which of several algorithms for the same result to keep: found by trying them, without a trace in the result.

#include <functional>

#include "backends/cuda/allocator.h"
#include "backends/cuda/handles.h"
#include "tensor/tensor.h"

namespace wan::cuda {

/// One thread at a time.
class Tuner {
 public:
  explicit Tuner(Allocator& allocator);

  /// The fastest of those candidates below `count` that give the bits which most of them give (of the earliest, where equally
  /// many give different ones), or -1 where none runs. Algorithms that add in the same order give the same bits, so the
  /// result is the same in every run, whichever of them wins. run(i) enqueues candidate i, which writes all of `out` (up to
  /// 4 dimensions); false where it cannot. Waits for the device.
  int choose(cudaStream_t stream, int count, const TensorView& out, const std::function<bool(int)>& run);

 private:
  unsigned long long checksum(cudaStream_t stream, const TensorView& out);

  Event begin_{Event::Kind::kTimed};
  Event end_{Event::Kind::kTimed};
  Buffer sum_;
  PinnedMemory read_{sizeof(unsigned long long)};
};

}  // namespace wan::cuda
