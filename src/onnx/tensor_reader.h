#pragma once
// A TensorProto as a HostTensor.

#include "onnx/external_data.h"
#include "onnx/host_tensor.h"

namespace wan::onnx {

struct TensorSource {
  const std::string& where;  // begins every message
  ExternalFiles& external;
  const std::shared_ptr<const void>& keep;  // holds the memory of the model file
};

struct NamedTensor {
  std::string name;
  HostTensor values;
};

/// Throws BadFile: a type that is not taken, more than six dimensions, bytes that are not as many as the shape says.
NamedTensor read_tensor(std::span<const std::byte> bytes, const TensorSource& source);

/// The dtype of ONNX's number for it. Throws BadFile for one that is not taken (strings, complex and packed numbers, unsigned ones
/// but bytes).
DType dtype_of_onnx(std::int64_t type, const std::string& where);

/// Throws BadFile for more dimensions than a tensor has here, a negative one, or too many elements.
Shape shape_of(std::span<const std::int64_t> dims, const std::string& where);

}  // namespace wan::onnx
