#pragma once
// What the row-wise ops share: float buffers a thread for rows that are converted, and the segment of a row.

#include <omp.h>

#include <algorithm>

#include "ops/row_segments.h"
#include "ops/workspace.h"

namespace wan {

/// Two rows of `width` floats for each of `threads` OpenMP threads; none where threads is 0.
class RowScratch {
 public:
  RowScratch(Workspace& workspace, int threads, std::int64_t width) : width_((width + 15) / 16 * 16) {
    if (threads > 0) data_ = workspace.take(DType::kF32, {threads, 2, width_}).as<float>();
  }
  /// The calling thread's buffer `index`, 0 or 1.
  float* buffer(int index) const {
    return data_ == nullptr ? nullptr : data_ + (2 * omp_get_thread_num() + index) * width_;
  }

 private:
  float* data_ = nullptr;
  std::int64_t width_;
};

/// The table row that sequence row `row` uses.
inline std::int64_t segment_of(const RowSegments& segments, std::int64_t row) {
  return std::upper_bound(segments.ends.begin(), segments.ends.end(), row) - segments.ends.begin();
}

}  // namespace wan
