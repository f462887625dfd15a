#pragma once
// GoldenFile: the arrays of a committed safetensors file as host tensors.

#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "support/compare.h"
#include "tensor/tensor.h"
#include "weights/checkpoint.h"

namespace wan::test {

/// A path below tests/golden, as the build unpacked it.
std::filesystem::path golden_path(std::string_view relative);
/// A path in the source tree.
std::filesystem::path source_path(std::string_view relative);

/// What a file keeps of an array that tests hold theirs against: every `step`-th value in row-major order (tools/golden/thin.py).
struct Expected {
  Tensor kept;  // [count], or the whole array where step is 1
  Shape whole;  // the array's
  std::int64_t step = 1;
};

class GoldenFile {
 public:
  /// Throws BadFile.
  explicit GoldenFile(const std::filesystem::path& path) : file_(Checkpoint::open(path)) {}

  bool has(std::string_view name) const { return file_.find(name) != nullptr; }
  /// A row-major copy in the stored dtype. Throws BadFile when there is none of that name, or only a part of it.
  Tensor tensor(const std::string& name) const;
  /// What there is of it. Throws BadFile when there is none of that name.
  Expected expected(const std::string& name) const;
  /// An int64 array's values.
  std::vector<std::int64_t> integers(const std::string& name) const;
  /// Names that begin with `prefix`, without it, sorted.
  std::vector<std::string> names(std::string_view prefix = "") const;

 private:
  Checkpoint file_;
};

/// The values of `actual`, which has the whole array's shape, that `expected` keeps: in its dtype, of kept's shape. Empty where
/// the shape is another. Host tensors, any strides.
Tensor part_of(const TensorView& actual, const Expected& expected);

/// all_close of what the file keeps; a wrong shape of the whole never passes, nor does a value outside the part that is not finite.
::testing::AssertionResult all_close(const TensorView& actual, const Expected& expected, double relative_rms,
                                     double max_abs = std::numeric_limits<double>::infinity());

}  // namespace wan::test
