#include "models/video_vae/strip.h"

#include <algorithm>

namespace wan {

Strip::Strip(const Communicator& ranks, std::int64_t height, std::int64_t width) {
  const std::int64_t longer = std::max(height, width);
  if (longer < ranks.size()) return;
  ranks_ = ranks.size();
  rank_ = ranks.rank();
  columns_ = width >= height;
  latents_ = longer;
}

Range Strip::range(int rank, std::int64_t count) const {
  WAN_ASSERT(count % latents_ == 0);
  const std::int64_t scale = count / latents_;
  const Range latents = even_share(latents_, ranks_, rank);
  return {latents.begin * scale, latents.end * scale};
}

TensorView Strip::part_of(const TensorView& whole, int height_dim, int rank) const {
  if (!divided()) return whole;
  const int dim = columns_ ? height_dim + 1 : height_dim;
  const Range lines = range(rank, whole.dim(dim));
  return whole.slice(dim, lines.begin, lines.end);
}

Shape Strip::whole_of(const Shape& part) const {
  if (!divided()) return part;
  const std::int64_t own = even_share(latents_, ranks_, rank_).size();
  const auto whole = [&](std::int64_t side) { return side / own * latents_; };
  return columns_ ? Shape{part[0], part[1], whole(part[2]), part[3]}
                  : Shape{part[0], whole(part[1]), part[2], part[3]};
}

SpatialPadding Strip::halo() const {
  if (!divided()) return {};
  return columns_ ? SpatialPadding{.left = 1, .right = 1} : SpatialPadding{.top = 1, .bottom = 1};
}

}  // namespace wan
