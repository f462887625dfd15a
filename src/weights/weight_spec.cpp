#include "weights/weight_spec.h"

#include <array>

namespace wan {

Partition Partition::split(int dim, int ranks, int rank) {
  WAN_CHECK(ranks >= 1 && rank >= 0 && rank < ranks, kInternal, "[partition] rank {} of {}", rank, ranks);
  Partition partition;
  partition.dim_ = dim;
  partition.ranks_ = ranks;
  partition.rank_ = rank;
  return partition;
}

Shape Partition::local_shape(const Shape& whole, std::string_view weight) const {
  if (!is_split()) return whole;
  const std::int64_t extent = whole[dim_];
  WAN_CHECK(extent % ranks_ == 0, kInvalidArgument,
            "[weights] {} {} does not divide along dimension {} over {} ranks; choose a number of ranks that "
            "divides {}",
            weight, whole.to_string(), dim_, ranks_, extent);
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int i = 0; i < whole.rank(); ++i) extents[static_cast<std::size_t>(i)] = whole[i];
  extents[static_cast<std::size_t>(dim_ < 0 ? dim_ + whole.rank() : dim_)] = extent / ranks_;
  return Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(whole.rank())));
}

TensorView Partition::slice(const TensorView& whole) const {
  if (!is_split()) return whole;
  const std::int64_t share = whole.dim(dim_) / ranks_;
  return whole.slice(dim_, rank_ * share, (rank_ + 1) * share);
}

}  // namespace wan
