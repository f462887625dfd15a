#include "weights/block_residency.h"

#include <algorithm>
#include <utility>

#include "base/checked_math.h"
#include "tensor/row_copy.h"
#include "weights/resident_blocks.h"
#include "weights/streamed_blocks.h"

namespace wan {

BlockLease::BlockLease(BlockLease&& other) noexcept
    : residency_(std::exchange(other.residency_, nullptr)),
      place_(other.place_),
      weights_(std::exchange(other.weights_, {})),
      additions_(std::exchange(other.additions_, {})) {}

BlockLease& BlockLease::operator=(BlockLease&& other) noexcept {
  std::swap(residency_, other.residency_);
  std::swap(place_, other.place_);
  std::swap(weights_, other.weights_);
  std::swap(additions_, other.additions_);
  return *this;
}

void BlockLease::release() {
  if (residency_ != nullptr) std::exchange(residency_, nullptr)->release(place_);
  weights_ = {};
  additions_ = {};
}

std::unique_ptr<BlockResidency> make_residency(std::vector<BlockGroup> groups, ResidencyOptions options) {
  if (!options.copy)
    options.copy = [](const TensorView& from, const TensorView& to) { copy_rows(row_copy(from, to)); };
  if (options.kind == ResidencyKind::kStreamed)
    return std::make_unique<StreamedBlocks>(std::move(groups), std::move(options));
  return std::make_unique<ResidentBlocks>(std::move(groups), options);
}

std::size_t share_bytes(const BlockGroup& group) {
  const BlockShare& share = group.share;
  if (!share.shards) return 0;
  std::size_t total = 0;
  for (int index = 0; index < group.count; ++index) {
    if (!share.shards->divides(index)) continue;
    const Range run = share.shards->run_of(group.bytes_of(index), share.rank);
    total = checked_add(total, static_cast<std::size_t>(run.size()), "share_bytes");
  }
  return total;
}

std::size_t residency_bytes(std::span<const BlockGroup> groups, const ResidencyOptions& options) {
  constexpr const char* kWhere = "residency_bytes";
  std::size_t all = 0;
  std::size_t largest = 0;
  std::size_t shares = 0;
  for (const BlockGroup& group : groups) {
    for (int index = 0; index < group.count; ++index) {
      const std::size_t one = group.bytes_of(index);
      all = checked_add(all, one, kWhere);
      largest = std::max(largest, one);
    }
    shares = checked_add(shares, share_bytes(group), kWhere);
  }
  if (options.kind == ResidencyKind::kResident) return all;
  return checked_add(checked_mul(largest, static_cast<std::size_t>(options.places), kWhere), shares, kWhere);
}

}  // namespace wan
