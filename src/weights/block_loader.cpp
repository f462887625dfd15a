#include "weights/block_loader.h"

#include <algorithm>
#include <utility>

namespace wan {

BlockLoader::BlockLoader(std::vector<BlockGroup> groups, int threads, const WeightUpload& upload)
    : groups_(std::move(groups)) {
  WAN_CHECK(!groups_.empty(), kInternal, "[residency] no groups of blocks");
  for (const BlockGroup& group : groups_) {
    first_.push_back(block_count_);
    block_count_ += static_cast<std::size_t>(group.count);
    entries_.emplace_back();
    for (int block = 0; block < group.count; ++block) {
      auto& entries = entries_.back().emplace_back();
      for (WeightSpec spec : group.layout.weights) {
        spec.name = group.layout.block_prefix(block) + spec.name;
        entries.push_back(group.scope.declare(spec));
      }
    }
    if (!group.scope.loads()) continue;
    WeightTarget target = group.scope.target();
    if (threads > 0) target.threads = threads;
    if (upload) target.upload = upload;
    WAN_CHECK(target.allocator->device() == groups_.front().scope.target().allocator->device(), kInternal,
              "[residency] groups on several devices");
    loaders_.emplace_back(std::move(target));
  }
  WAN_CHECK(loaders_.empty() || loaders_.size() == groups_.size(), kInternal,
            "[residency] some groups load and some only describe");
}

void BlockLoader::check_id(BlockId id) const {
  WAN_CHECK(id.group >= 0 && id.group < static_cast<int>(groups_.size()) && id.index >= 0 &&
                id.index < groups_[static_cast<std::size_t>(id.group)].count,
            kInvalidArgument, "[residency] there is no block {} of group {}", id.index, id.group);
}

std::size_t BlockLoader::bytes_of(int group) const {
  const BlockGroup& chosen = groups_[static_cast<std::size_t>(group)];
  return block_bytes(chosen.layout, chosen.scope.compute_dtype());
}

Allocator& BlockLoader::allocator() const {
  return *groups_.front().scope.target().allocator;
}

std::vector<TensorView> BlockLoader::views(int group, std::byte* memory) const {
  const BlockGroup& chosen = groups_[static_cast<std::size_t>(group)];
  return block_views(chosen.layout, chosen.scope.compute_dtype(), memory, allocator().device());
}

// Reads ahead the next block, and this one too where it was not read ahead before.
void BlockLoader::read_ahead(BlockId id) {
  const auto group = static_cast<std::size_t>(id.group);
  const auto begin = static_cast<std::size_t>(ahead_ == id ? id.index + 1 : id.index);
  const auto end = static_cast<std::size_t>(std::min(id.index + 2, groups_[group].count));
  std::vector<const TensorEntry*> wanted;
  for (std::size_t block = begin; block < end; ++block)
    wanted.insert(wanted.end(), entries_[group][block].begin(), entries_[group][block].end());
  ahead_ = BlockId{id.group, id.index + 1};
  reading_ = std::async(std::launch::async, [checkpoint = groups_[group].scope.report().checkpoint(),
                                             wanted = std::move(wanted)] {
    for (const TensorEntry* entry : wanted)
      if (entry != nullptr) checkpoint.read_ahead(*entry);
  });
}

void BlockLoader::load(BlockId id, std::span<const TensorView> views) {
  WAN_CHECK(!loaders_.empty(), kInternal, "[residency] acquiring from a scope that only describes");
  const auto group = static_cast<std::size_t>(id.group);
  const std::vector<const TensorEntry*>& entries = entries_[group][static_cast<std::size_t>(id.index)];
  const BlockLayout& layout = groups_[group].layout;
  std::vector<WeightLoad> weights;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    WAN_CHECK(entries[i] != nullptr, kBadFile, "[residency] {}{} of {} is missing or of another kind; {}",
              groups_[group].scope.prefix() + layout.block_prefix(id.index), layout.weights[i].name,
              groups_[group].scope.report().checkpoint().path(), "wan inspect lists all that is");
    weights.push_back({*entries[i], views[i]});
  }
  read_ahead(id);
  loaders_[group].load(weights);
  const Checkpoint& checkpoint = groups_[group].scope.report().checkpoint();
  for (const TensorEntry* entry : entries) {
    checkpoint.check_read(*entry);
    checkpoint.release_pages(*entry);
  }
}

}  // namespace wan
