#pragma once
// TensorEntry: one tensor of a checkpoint file, where it lies in the mapped file. Nothing is read or copied.

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "weights/weight_change.h"

namespace wan {

struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  /// In elements. A `.pth` may hold transposed and offset views; safetensors are row-major.
  Shape strides;
  /// From the first byte of the tensor's first element to the last byte of its last one; checked against the
  /// file. Its start need not be aligned. Empty when the tensor has no elements.
  std::span<const std::byte> storage;
  /// The file that holds it, as it was opened.
  std::string file;
  /// Done to its values when they are loaded; empty: nothing. Its first element is number `change_first` to that.
  std::shared_ptr<const WeightChange> change = {};
  std::int64_t change_first = 0;

  std::int64_t elements() const { return shape.elements(); }
  /// Size of a row-major copy in the same dtype.
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * dtype_size(dtype); }
  /// The mapped bytes as a view: read-only memory, and not necessarily aligned to the dtype.
  TensorView view() const {
    return {const_cast<std::byte*>(storage.data()), dtype, shape, strides, Device{}};
  }
};

/// What one checkpoint file holds.
struct CheckpointFile {
  std::vector<TensorEntry> tensors;             // in the file's order
  std::map<std::string, std::string> metadata;  // safetensors' "__metadata__"; empty for a .pth
};

}  // namespace wan
