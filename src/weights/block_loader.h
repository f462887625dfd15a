#pragma once
// BlockLoader: fills a place with a block of one of several groups, or with a part of one, from the checkpoint.

#include <future>
#include <optional>
#include <span>
#include <vector>

#include "weights/block_residency.h"

namespace wan {

/// Reads what is needed next from its file beside the loading of what is needed now.
class ReadAhead {
 public:
  /// Of `id`, which is loaded now, unless it was read ahead, and of `next`. `sources` gives a block's tensors.
  void begin(const Checkpoint& checkpoint, BlockId id, std::optional<BlockId> next,
             const std::function<std::vector<TensorEntry>(BlockId)>& sources);

 private:
  std::optional<BlockId> next_;
  std::future<void> reading_;  // beside the load: every page is looked up, there or not
};

/// Declares the blocks' weights when made. load() is for one thread; all else for any.
class BlockLoader {
 public:
  /// `threads` for conversions and `upload`: 0 and empty: as the scopes say. `copy` as ResidencyOptions::copy.
  BlockLoader(std::vector<BlockGroup> groups, int threads, WeightUpload upload, BlockCopy copy = {});
  ~BlockLoader();
  BlockLoader(const BlockLoader&) = delete;
  BlockLoader& operator=(const BlockLoader&) = delete;

  const std::vector<BlockGroup>& groups() const { return groups_; }
  const BlockGroup& group_of(BlockId id) const { return groups_[static_cast<std::size_t>(id.group)]; }
  /// Throws InvalidArgument for a block that does not exist.
  void check_id(BlockId id) const;
  std::size_t bytes_of(BlockId id) const { return group_of(id).bytes_of(id.index); }
  /// Blocks of all groups together; number() counts a block among them from 0.
  std::size_t block_count() const { return block_count_; }
  std::size_t number(BlockId id) const {
    return first_[static_cast<std::size_t>(id.group)] + static_cast<std::size_t>(id.index);
  }
  Allocator& allocator() const;
  /// Views of the block in `memory`, as block_views() gives them.
  std::vector<TensorView> views(BlockId id, std::byte* memory) const;
  /// Likewise, block_additions().
  std::vector<LowRankViews> additions(BlockId id, std::byte* memory) const;
  /// `views` are the block's own, of memory that begins with the first. The group's common blocks bring it, where it has them: then `views` are of one piece of memory that no
  /// enqueued work uses. Meanwhile the group's next block, if any, is read ahead. Throws BadFile when one of the block's weights is not usable, or its
  /// file was cut short.
  void load(BlockId id, std::span<const TensorView> views);
  /// Fills `memory` with `run` of the block's bytes, with as many threads as the scope says; meanwhile the same run of `next`, of the
  /// same group, is read ahead. Throws as load().
  void load_run(BlockId id, Range run, std::byte* memory, std::optional<BlockId> next,
                ReadAhead& ahead) const;

 private:
  WeightTarget target_of(const BlockGroup& group, int threads) const;
  const std::vector<const TensorEntry*>& entries_of(BlockId id) const;
  /// What of the checkpoint makes `runs` of the block, usable weights alone.
  std::vector<TensorEntry> sources(BlockId id, std::span<const WeightRun> runs) const;
  void check_usable(BlockId id) const;
  /// After a block's weights, those of what is added to each; nullptr where nothing is.
  static void add_factors(std::span<const PackedWeight> weights, std::vector<const TensorEntry*>& entries);
  /// The runs of the block that is loaded, and of the next one, of which nothing is written.
  using RunsOf = std::function<std::vector<WeightRun>(BlockId)>;
  void load_runs(BlockId id, const RunsOf& runs_of, const WeightLoader& loader, std::optional<BlockId> next,
                 ReadAhead& ahead) const;

  /// From the checkpoint to `views`, by `loader`.
  void load_here(BlockId id, std::span<const TensorView> views, const WeightLoader& loader);

  std::vector<BlockGroup> groups_;
  WeightUpload upload_;
  BlockCopy copy_;
  std::vector<std::size_t> first_;  // number of each group's first block
  std::size_t block_count_ = 0;
  std::vector<WeightLoader> loaders_;                                  // by group; none when describing
  std::vector<std::vector<std::vector<const TensorEntry*>>> entries_;  // by group, block, weight
  ReadAhead ahead_;                                                    // of load()
};

}  // namespace wan
