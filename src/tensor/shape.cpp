#include "tensor/shape.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/checked_math.h"

namespace wan {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) : Shape(of_strides(extents)) {
  for (const std::int64_t extent : extents)
    WAN_CHECK(extent >= 0, kInvalidArgument, "[shape] dimension {} is negative", extent);
}

Shape Shape::of_strides(std::span<const std::int64_t> strides) {
  WAN_CHECK(strides.size() <= kMaxRank, kInvalidArgument,
            "[shape] at most {} dimensions are supported, got {}", kMaxRank, strides.size());
  Shape shape;
  shape.rank_ = static_cast<int>(strides.size());
  std::copy(strides.begin(), strides.end(), shape.extents_.begin());
  return shape;
}

std::int64_t Shape::elements() const {
  return checked_product(extents(), "shape");
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(extents(), ", "));
}

void Shape::fail_index(int index) const {
  fail(ErrorCode::kInternal, "[shape] index {} is outside {}", index, to_string());
}

}  // namespace wan
