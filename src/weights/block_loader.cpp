#include "weights/block_loader.h"

#include <utility>

#include "weights/packed_source.h"

namespace wan {

namespace {

/// `run` of a weight, as a tensor of its own where its elements lie in one piece; otherwise all of it. Of a packed one, and of codes, what its
/// bytes are read from.
TensorEntry part_of(const TensorEntry& entry, const WeightRun& run) {
  const std::int64_t count = run.view.elements();
  TensorEntry part = entry;
  if (run.packed) {
    part.storage = packed_storage(entry, *run.packed, static_cast<std::size_t>(run.first), run.view.bytes());
    return part;
  }
  if (count == entry.elements() || !entry.view().is_contiguous() || !is_floating(entry.dtype)) return part;
  const std::size_t size = dtype_size(entry.dtype);
  part.shape = {count};
  part.strides = {1};
  part.change_first = run.first;
  part.storage = entry.storage.subspan(static_cast<std::size_t>(run.first) * size,
                                       static_cast<std::size_t>(count) * size);
  return part;
}

}  // namespace

void ReadAhead::begin(const Checkpoint& checkpoint, BlockId id, std::optional<BlockId> next,
                      const std::function<std::vector<TensorEntry>(BlockId)>& sources) {
  std::vector<TensorEntry> wanted;
  if (next_ != id) wanted = sources(id);
  if (next)
    for (TensorEntry& entry : sources(*next)) wanted.push_back(std::move(entry));
  next_ = next;
  reading_ = std::async(std::launch::async, [checkpoint, wanted = std::move(wanted)] {
    for (const TensorEntry& entry : wanted) checkpoint.read_ahead(entry);
  });
}

BlockLoader::BlockLoader(std::vector<BlockGroup> groups, int threads, WeightUpload upload, BlockCopy copy)
    : groups_(std::move(groups)), upload_(std::move(upload)), copy_(std::move(copy)) {
  WAN_CHECK(!groups_.empty(), kInternal, "[residency] no groups of blocks");
  for (const BlockGroup& group : groups_) {
    first_.push_back(block_count_);
    block_count_ += static_cast<std::size_t>(group.count);
    entries_.emplace_back();
    for (int block = 0; block < group.count; ++block) {
      auto& entries = entries_.back().emplace_back();
      for (const WeightSpec& spec : group.layout.block_weights(block))
        entries.push_back(group.scope.declare(spec));
      if (group.layout.has_additions(block))
        add_factors(group.layout.packed[static_cast<std::size_t>(block)], entries);
    }
    if (!group.scope.loads()) continue;
    loaders_.emplace_back(target_of(group, threads));
    WAN_CHECK(group.scope.target().allocator->device() == groups_.front().scope.target().allocator->device(),
              kInternal, "[residency] groups on several devices");
  }
  WAN_CHECK(loaders_.empty() || loaders_.size() == groups_.size(), kInternal,
            "[residency] some groups load and some only describe");
}

BlockLoader::~BlockLoader() {
  for (const BlockGroup& group : groups_)
    if (group.share.common) group.share.common->leave(group.share.rank);
}

WeightTarget BlockLoader::target_of(const BlockGroup& group, int threads) const {
  WeightTarget target = group.scope.target();
  if (threads > 0) target.threads = threads;
  if (upload_) target.upload = upload_;
  return target;
}

void BlockLoader::check_id(BlockId id) const {
  WAN_CHECK(id.group >= 0 && id.group < static_cast<int>(groups_.size()) && id.index >= 0 &&
                id.index < groups_[static_cast<std::size_t>(id.group)].count,
            kInvalidArgument, "[residency] there is no block {} of group {}", id.index, id.group);
}

Allocator& BlockLoader::allocator() const {
  return *groups_.front().scope.target().allocator;
}

void BlockLoader::add_factors(std::span<const PackedWeight> weights,
                              std::vector<const TensorEntry*>& entries) {
  const std::size_t count = weights.size();
  for (std::size_t i = 0; i < count; ++i) {
    const bool any = weights[i].rank > 0 && entries[i] != nullptr;
    const WeightFactors* const factors = any ? entries[i]->change->factors() : nullptr;
    entries.push_back(any ? &factors->up : nullptr);
    entries.push_back(any ? &factors->down : nullptr);
  }
}

std::vector<LowRankViews> BlockLoader::additions(BlockId id, std::byte* memory) const {
  const BlockGroup& group = group_of(id);
  return block_additions(group.layout, group.scope.compute_dtype(), id.index, memory, allocator().device());
}

std::vector<TensorView> BlockLoader::views(BlockId id, std::byte* memory) const {
  const BlockGroup& group = group_of(id);
  return block_views(group.layout, group.scope.compute_dtype(), id.index, memory, allocator().device());
}

const std::vector<const TensorEntry*>& BlockLoader::entries_of(BlockId id) const {
  return entries_[static_cast<std::size_t>(id.group)][static_cast<std::size_t>(id.index)];
}

std::vector<TensorEntry> BlockLoader::sources(BlockId id, std::span<const WeightRun> runs) const {
  std::vector<TensorEntry> sources;
  const std::vector<const TensorEntry*>& entries = entries_of(id);
  for (const WeightRun& run : runs)
    if (run.weight < entries.size() && entries[run.weight] != nullptr)
      sources.push_back(part_of(*entries[run.weight], run));
  return sources;
}

void BlockLoader::check_usable(BlockId id) const {
  const BlockGroup& group = group_of(id);
  const std::vector<const TensorEntry*>& entries = entries_of(id);
  for (std::size_t i = 0; i < group.layout.count(id.index); ++i)
    WAN_CHECK(entries[i] != nullptr, kBadFile, "[residency] {} of {} is missing or of another kind; {}",
              group.scope.full_name(group.layout.block_weights(id.index)[i].name),
              group.scope.report().checkpoint().path(), "wan inspect lists all that is");
}

void BlockLoader::load_runs(BlockId id, const RunsOf& runs_of, const WeightLoader& loader,
                            std::optional<BlockId> next, ReadAhead& ahead) const {
  check_usable(id);
  const std::vector<WeightRun> runs = runs_of(id);
  const Checkpoint& checkpoint = group_of(id).scope.report().checkpoint();
  const std::vector<TensorEntry> entries = sources(id, runs);
  std::vector<WeightLoad> weights;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const TensorEntry& whole = *entries_of(id)[runs[i].weight];
    const bool all = !runs[i].packed && entries[i].elements() == runs[i].view.elements();
    weights.push_back(
        {runs[i].packed ? whole : entries[i], runs[i].view, all ? 0 : runs[i].first, runs[i].packed});
  }
  // The next block's weights may be packed otherwise, and lie elsewhere in it.
  ahead.begin(checkpoint, id, next, [&](BlockId wanted) { return sources(wanted, runs_of(wanted)); });
  loader.load(weights);
  for (const TensorEntry& entry : entries) {
    checkpoint.done_reading(entry);
  }
}

void BlockLoader::load(BlockId id, std::span<const TensorView> views) {
  WAN_CHECK(!loaders_.empty(), kInternal, "[residency] acquiring from a scope that only describes");
  const BlockGroup& group = group_of(id);
  const BlockShare& share = group.share;
  if (!share.common) return load_here(id, views, loaders_[static_cast<std::size_t>(id.group)]);
  const DType dtype = group.scope.compute_dtype();
  const std::size_t bytes = bytes_of(id);
  const auto fill = [&](std::byte* memory) {
    const WeightLoader on_host({.compute_dtype = dtype});
    load_here(id, block_views(group.layout, dtype, id.index, memory, Device{}), on_host);
  };
  const auto take = [&](std::byte* memory) {
    const Shape shape{static_cast<std::int64_t>(bytes)};
    const TensorView from(memory, DType::kU8, shape);
    const TensorView to(views.front().data(), DType::kU8, shape, allocator().device());
    copy_(from, to);
  };
  share.common->take(share.rank, {share.model, id.index}, bytes, fill, take);
}

void BlockLoader::load_here(BlockId id, std::span<const TensorView> views, const WeightLoader& loader) {
  const BlockGroup& group = group_of(id);
  const auto whole_runs = [&](BlockId wanted) {
    const std::vector<TensorView> all =
        wanted == id ? std::vector<TensorView>(views.begin(), views.end())
                     : block_views(group.layout, group.scope.compute_dtype(), wanted.index,
                                   views.front().data(), views.front().device());
    std::vector<WeightRun> runs;
    for (std::size_t i = 0; i < all.size(); ++i) runs.push_back(whole_run(i, all[i]));
    const std::vector<LowRankViews> more =
        block_additions(group.layout, group.scope.compute_dtype(), wanted.index, views.front().data(),
                        views.front().device());
    for (std::size_t i = 0; i < more.size(); ++i) {
      if (more[i].up.empty()) continue;
      runs.push_back(whole_run(all.size() + 2 * i, more[i].up));
      runs.push_back(whole_run(all.size() + 2 * i + 1, more[i].down));
    }
    return runs;
  };
  const BlockId next{id.group, id.index + 1};
  load_runs(id, whole_runs, loader, next.index < group.count ? std::optional(next) : std::nullopt, ahead_);
}

void BlockLoader::load_run(BlockId id, Range run, std::byte* memory, std::optional<BlockId> next,
                           ReadAhead& ahead) const {
  const BlockGroup& group = group_of(id);
  WeightTarget target = target_of(group, 0);
  target.loaders = group.share.shards->ranks();  // each has its part to load
  const auto runs_of = [&](BlockId wanted) {
    return weight_runs(group.layout, group.scope.compute_dtype(), wanted.index, run, memory,
                       allocator().device());
  };
  load_runs(id, runs_of, WeightLoader(std::move(target)), next, ahead);
}

}  // namespace wan
