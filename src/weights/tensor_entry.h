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

/// What a matrix of codes (f8 or i8) is multiplied by: the code in row r and column c by values[r / rows][c / columns].
struct CodeScales {
  std::vector<float> values;  // [number of rows / rows, number of columns / columns], rounded up
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  /// Rows were rotated in groups of 256 before they were rounded, and are rotated back (tensor/formats/rotated.h).
  bool rotated = false;
};

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
  /// Of a matrix of codes whose file has scales; row-major then.
  std::shared_ptr<const CodeScales> scales = {};
  /// A file that does not tell leading dimensions of one, or joins leading ones: as many elements are the same tensor.
  bool joins_dimensions = false;
  /// What `storage` lies in where it lies in no file.
  std::shared_ptr<const std::byte[]> memory = {};
  /// Done to its values when they are loaded; empty: nothing. Its first element is number `change_first` to that.
  std::shared_ptr<const WeightChange> change = {};
  std::int64_t change_first = 0;

  /// Numbers that a weight may hold, once they are unpacked.
  bool is_weight() const {
    return is_floating(dtype) || is_packed(dtype) || (dtype == DType::kI8 && scales != nullptr);
  }
  std::int64_t elements() const { return shape.elements(); }
  /// Size of a row-major copy in the same dtype, and of its scales.
  std::size_t bytes() const {
    return dtype_bytes(dtype, elements()) + (scales != nullptr ? scales->values.size() * sizeof(float) : 0);
  }
  /// The mapped bytes as a view: read-only memory, and not necessarily aligned to the dtype. Without scales, of codes that have some.
  TensorView view() const {
    return {const_cast<std::byte*>(storage.data()), dtype, shape, strides, Device{}};
  }
};

/// What a change adds to a weight [out, in], as up down^T. Their values are made when they are read: each entry has a change of its own.
struct WeightFactors {
  TensorEntry up;    // [out, rank]
  TensorEntry down;  // [in, rank]
  std::int64_t rank() const { return up.shape[1]; }
};

/// What one checkpoint file holds.
struct CheckpointFile {
  std::vector<TensorEntry> tensors;             // in the file's order
  std::map<std::string, std::string> metadata;  // safetensors' "__metadata__"; empty for a .pth
};

}  // namespace wan
