#include "onnx/host_tensor.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace wan::onnx {

HostTensor::HostTensor(DType dtype, const Shape& shape) : dtype_(dtype), shape_(shape) {
  const std::size_t count = dtype_bytes(dtype, shape.elements());
  WAN_CHECK(count <= static_cast<std::size_t>(kMostBytes), kOutOfMemory,
            "a value {} of the ONNX graph takes {} bytes on the host, {} at most", shape.to_string(), count,
            kMostBytes);
  // In units of the widest element, so that any dtype is aligned.
  auto memory = std::make_shared<std::vector<std::max_align_t>>(count / sizeof(std::max_align_t) + 1);
  data_ = reinterpret_cast<const std::byte*>(memory->data());
  std::memset(writable(), 0, count);
  keep_ = std::move(memory);
}

HostTensor::HostTensor(DType dtype, const Shape& shape, const std::byte* data,
                       std::shared_ptr<const void> keep)
    : dtype_(dtype), shape_(shape), data_(data), keep_(std::move(keep)) {}

HostTensor HostTensor::aligned() const {
  if (reinterpret_cast<std::uintptr_t>(data_) % dtype_size(dtype_) == 0) return *this;
  HostTensor made(dtype_, shape_);
  std::memcpy(made.writable(), data_, bytes());
  return made;
}

HostTensor HostTensor::reshaped(const Shape& shape) const {
  WAN_CHECK(shape.elements() == elements(), kBadFile, "{} elements as {}", elements(), shape.to_string());
  return {dtype_, shape, data_, keep_};
}

std::vector<std::int64_t> HostTensor::integers(const std::string& what) const {
  std::vector<std::int64_t> values(static_cast<std::size_t>(elements()));
  WAN_CHECK(!is_floating(dtype_), kBadFile, "{} must be integers, not {}", what, dtype_name(dtype_));
  const HostTensor from = aligned();
  with_host_type(dtype_, [&]<typename T>(T) {
    std::transform(from.as<T>(), from.as<T>() + values.size(), values.begin(),
                   [](T value) { return static_cast<std::int64_t>(value); });
  });
  return values;
}

double HostTensor::number() const {
  WAN_CHECK(elements() >= 1, kBadFile, "a number is missing");
  double value = 0.0;
  const bool known = with_host_type(dtype_, [&]<typename T>(T) {
    T first;
    std::memcpy(&first, data_, sizeof(T));
    value = static_cast<double>(first);
  });
  WAN_CHECK(known, kBadFile, "a number is of type {}", dtype_name(dtype_));
  return value;
}

}  // namespace wan::onnx
