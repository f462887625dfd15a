#pragma once
// GoldenFile: the arrays of a committed safetensors file as host tensors.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"
#include "weights/checkpoint.h"

namespace wan::test {

/// A path below tests/golden of the source tree.
std::filesystem::path golden_path(std::string_view relative);

class GoldenFile {
 public:
  /// Throws BadFile.
  explicit GoldenFile(const std::filesystem::path& path) : file_(Checkpoint::open(path)) {}

  bool has(std::string_view name) const { return file_.find(name) != nullptr; }
  /// A row-major copy in the stored dtype. Throws BadFile when there is none of that name.
  Tensor tensor(const std::string& name) const;
  /// An int64 array's values.
  std::vector<std::int64_t> integers(const std::string& name) const;
  /// Names that begin with `prefix`, without it, sorted.
  std::vector<std::string> names(std::string_view prefix = "") const;

 private:
  Checkpoint file_;
};

}  // namespace wan::test
