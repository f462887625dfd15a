#pragma once
// HostTensor: values on the host that copies share: constants of a graph, and what its small steps compute.

#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace wan::onnx {

/// Row-major. Data is never null, not even of no elements, and aligned for its dtype unless it is mapped (aligned()).
class HostTensor {
 public:
  HostTensor() = default;
  /// Zeros. Throws OutOfMemory past kMostBytes.
  HostTensor(DType dtype, const Shape& shape);
  /// Memory of somebody else's, which `keep` holds.
  HostTensor(DType dtype, const Shape& shape, const std::byte* data, std::shared_ptr<const void> keep);

  static constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;

  explicit operator bool() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return dtype_bytes(dtype_, elements()); }
  const std::byte* data() const { return data_; }
  /// For whoever has made it and shares it with nobody yet.
  std::byte* writable() { return const_cast<std::byte*>(data_); }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }
  template <typename T>
  T* fill() {
    return reinterpret_cast<T*>(writable());
  }
  /// The same values in aligned memory.
  HostTensor aligned() const;
  HostTensor reshaped(const Shape& shape) const;
  /// For reading.
  TensorView view() const { return {const_cast<std::byte*>(data_), dtype_, shape_}; }

  /// Integers of any integer dtype; throws BadFile, naming `what`, for another dtype.
  std::vector<std::int64_t> integers(const std::string& what) const;
  /// The first value of any dtype.
  double number() const;

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  const std::byte* data_ = nullptr;
  std::shared_ptr<const void> keep_;
};

/// visit(T{}) for the C++ type that holds the dtype's values (bool: std::uint8_t). f16 and bf16 have none: false, and no visit.
template <typename Visit>
bool with_host_type(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::kF64:
      visit(double{});
      return true;
    case DType::kF32:
      visit(float{});
      return true;
    case DType::kI64:
      visit(std::int64_t{});
      return true;
    case DType::kI32:
      visit(std::int32_t{});
      return true;
    case DType::kI16:
      visit(std::int16_t{});
      return true;
    case DType::kI8:
      visit(std::int8_t{});
      return true;
    case DType::kU8:
    case DType::kBool:
      visit(std::uint8_t{});
      return true;
    default:
      return false;
  }
}

}  // namespace wan::onnx
