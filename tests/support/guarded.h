#pragma once
// Memory for an op's output that notices writes outside the view, and random inputs of any dtype and layout.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace wan::test {

/// How a tensor lies in memory.
enum class Layout {
  kContiguous,
  kPaddedRows,   // gaps after each index of the first dimension
  kPaddedInner,  // gaps after each index of every dimension but the last
};

/// A tensor with sentinel bytes round it and in its gaps.
class Guarded {
 public:
  explicit Guarded(DType dtype, const Shape& shape, Layout layout = Layout::kContiguous);

  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }  // NOLINT: used wherever a view is
  /// Passes where no byte outside the view has changed since construction.
  ::testing::AssertionResult intact() const;

 private:
  std::vector<std::byte> bytes_;
  std::vector<bool> inside_;
  TensorView view_;
};

/// Standard normal values times `scale` plus `offset`, rounded to dtype; the same for equal seeds.
void fill_random(const TensorView& view, std::uint32_t seed, double scale = 1.0, double offset = 0.0);
Guarded random_tensor(DType dtype, const Shape& shape, std::uint32_t seed,
                      Layout layout = Layout::kContiguous, double scale = 1.0);

/// f64 copy of any floating-point view.
Tensor to_f64(const TensorView& view);

}  // namespace wan::test
