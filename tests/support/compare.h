#pragma once
// Comparing tensors in tests: relative RMS and largest difference, in double. NaN and infinity never pass,
// and neither does a wrong shape.

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "ops/dispatch.h"
#include "tensor/tensor.h"

namespace wan::test {

/// How far `actual` is from `expected`.
struct Difference {
  double relative_rms = 0.0;  // ||actual - expected|| / ||expected||; 0 / 0 is 0, x / 0 infinite
  double max_abs = 0.0;
  std::int64_t worst = -1;  // row-major index of the largest difference
  bool comparable = true;   // false: shapes differ, or a value on either side is NaN or infinite
  std::string why_not;      // where comparable is false
};

/// Any of f64, f32, f16, bf16 on the host, any strides; the dtypes may differ.
Difference difference(const TensorView& actual, const TensorView& expected);

/// Passes where the views have one shape, every value is finite and ||actual - expected|| <= relative_rms *
/// ||expected||. `max_abs` bounds the largest single difference too (infinite: no such bound).
::testing::AssertionResult all_close(const TensorView& actual, const TensorView& expected,
                                     double relative_rms,
                                     double max_abs = std::numeric_limits<double>::infinity());

}  // namespace wan::test
