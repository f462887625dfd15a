#include "tensor/tensor.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked_math.h"

namespace wan {

Shape contiguous_strides(const Shape& shape) {
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  std::int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = stride;
    stride = checked_mul(stride, shape[i], "strides");
  }
  return Shape(std::span<const std::int64_t>(strides.data(), static_cast<std::size_t>(shape.rank())));
}

UploadSource upload_source(const TensorView& host) {
  WAN_CHECK(host.is_contiguous() && host.device().kind == DeviceKind::kCpu, kInternal,
            "[upload] expected a contiguous view on cpu, got strides {} on {}", host.strides().to_string(),
            to_string(host.device()));
  return [host](std::byte* to, std::size_t first, std::size_t count) {
    if (count > 0) std::memcpy(to, host.data() + first, count);
  };
}

TensorView::TensorView(void* data, DType dtype, const Shape& shape, Device device)
    : TensorView(data, dtype, shape, contiguous_strides(shape), device) {}

TensorView::TensorView(void* data, DType dtype, const Shape& shape, const Shape& strides, Device device)
    : data_(data), dtype_(dtype), shape_(shape), strides_(strides), device_(device) {
  WAN_CHECK(shape.rank() == strides.rank(), kInternal, "[TensorView] shape {} and strides {} differ in rank",
            shape.to_string(), strides.to_string());
}

bool TensorView::is_contiguous() const {
  std::int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (dim(i) != 1 && stride(i) != expected) return false;
    expected *= dim(i);
  }
  return true;
}

TensorView TensorView::slice(int dim_index, std::int64_t begin, std::int64_t end) const {
  const int axis = dim_index < 0 ? dim_index + rank() : dim_index;
  WAN_CHECK(0 <= begin && begin <= end && end <= dim(axis), kInternal,
            "[slice] [{}, {}) is outside dimension {} of {}", begin, end, axis, shape_.to_string());
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int i = 0; i < rank(); ++i) extents[static_cast<std::size_t>(i)] = dim(i);
  extents[static_cast<std::size_t>(axis)] = end - begin;
  const Shape shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(rank())));
  return {at(begin * stride(axis)), dtype_, shape, strides_, device_};
}

TensorView TensorView::select(int dim_index, std::int64_t index) const {
  const int axis = dim_index < 0 ? dim_index + rank() : dim_index;
  const TensorView one = slice(axis, index, index + 1);
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  std::size_t kept = 0;
  for (int i = 0; i < rank(); ++i) {
    if (i == axis) continue;
    extents[kept] = dim(i);
    strides[kept++] = stride(i);
  }
  return {one.data(), dtype_, Shape(std::span<const std::int64_t>(extents.data(), kept)),
          Shape::of_strides(std::span<const std::int64_t>(strides.data(), kept)), device_};
}

TensorView TensorView::reshape(const Shape& shape) const {
  WAN_CHECK(is_contiguous() && shape.elements() == elements(), kInternal, "[reshape] {} (strides {}) as {}",
            shape_.to_string(), strides_.to_string(), shape.to_string());
  return {data_, dtype_, shape, device_};
}

TensorView TensorView::permute(std::initializer_list<int> order) const {
  WAN_CHECK(static_cast<int>(order.size()) == rank(), kInternal, "[permute] {} axes for {}", order.size(),
            shape_.to_string());
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  std::size_t i = 0;
  unsigned seen = 0;
  for (const int axis : order) {
    extents[i] = dim(axis);
    strides[i++] = stride(axis);
    seen |= 1u << axis;
  }
  WAN_CHECK(seen == (1u << rank()) - 1u, kInternal, "[permute] axes are not a permutation of {}", rank());
  return {data_, dtype_, Shape(std::span<const std::int64_t>(extents.data(), i)),
          Shape::of_strides(std::span<const std::int64_t>(strides.data(), i)), device_};
}

TensorView TensorView::flip(int dim_index) const {
  const int axis = dim_index < 0 ? dim_index + rank() : dim_index;
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  for (int i = 0; i < rank(); ++i) strides[static_cast<std::size_t>(i)] = i == axis ? -stride(i) : stride(i);
  return {at(std::max<std::int64_t>(dim(axis) - 1, 0) * stride(axis)), dtype_, shape_,
          Shape::of_strides(std::span<const std::int64_t>(strides.data(), static_cast<std::size_t>(rank()))),
          device_};
}

std::byte* TensorView::at(std::int64_t element) const {
  return element < 0 ? data() - dtype_bytes(dtype_, -element) : data() + dtype_bytes(dtype_, element);
}

Tensor::Tensor(Allocator& allocator, DType dtype, const Shape& shape)
    : buffer_(allocator, dtype_bytes(dtype, shape.elements())),
      view_(buffer_.data(), dtype, shape, allocator.device()) {}

}  // namespace wan
