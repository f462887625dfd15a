#include "tensor/shape.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/checked_math.h"

namespace wan {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  WAN_CHECK(extents.size() <= kMaxRank, kInvalidArgument,
            "[shape] at most {} dimensions are supported, got {}", kMaxRank, extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
  for (const std::int64_t extent : extents)
    WAN_CHECK(extent >= 0, kInvalidArgument, "[shape] dimension {} is negative", extent);
}

std::int64_t Shape::elements() const {
  return checked_product(extents(), "shape");
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(extents(), ", "));
}

int Shape::checked_index(int index) const {
  const int positive = index < 0 ? index + rank_ : index;
  WAN_CHECK(positive >= 0 && positive < rank_, kInternal, "[shape] index {} is outside {}", index,
            to_string());
  return positive;
}

}  // namespace wan
