#pragma once
// BlockLoader: fills a place with a block of one of several groups.

#include <future>
#include <optional>
#include <span>
#include <vector>

#include "weights/block_residency.h"

namespace wan {

/// Not thread-safe. Declares the blocks' weights when made.
class BlockLoader {
 public:
  /// `threads` for conversions and `upload`: 0 and empty: as the scopes say.
  BlockLoader(std::vector<BlockGroup> groups, int threads, const WeightUpload& upload);

  const std::vector<BlockGroup>& groups() const { return groups_; }
  /// Throws InvalidArgument for a block that does not exist.
  void check_id(BlockId id) const;
  std::size_t bytes_of(int group) const;
  /// Blocks of all groups together; number() counts a block among them from 0.
  std::size_t block_count() const { return block_count_; }
  std::size_t number(BlockId id) const {
    return first_[static_cast<std::size_t>(id.group)] + static_cast<std::size_t>(id.index);
  }
  Allocator& allocator() const;
  /// Views of a block of `group` in `memory`.
  std::vector<TensorView> views(int group, std::byte* memory) const;
  /// Meanwhile the group's next block, if any, is read ahead. Throws BadFile when one of the block's weights is not usable, or its
  /// file was cut short.
  void load(BlockId id, std::span<const TensorView> views);

 private:
  void read_ahead(BlockId id);

  std::vector<BlockGroup> groups_;
  std::vector<std::size_t> first_;  // number of each group's first block
  std::size_t block_count_ = 0;
  std::vector<WeightLoader> loaders_;                                  // by group; none when describing
  std::vector<std::vector<std::vector<const TensorEntry*>>> entries_;  // by group, block, weight
  std::optional<BlockId> ahead_;                                       // the last one that was read ahead
  std::future<void> reading_;  // beside the load: every page is looked up, there or not
};

}  // namespace wan
