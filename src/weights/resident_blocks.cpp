#include "weights/resident_blocks.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace wan {

ResidentBlocks::ResidentBlocks(std::vector<BlockGroup> groups, const WeightUpload& upload)
    : loader_(std::move(groups), 0, upload), bytes_(residency_bytes(loader_.groups(), {})) {
  for (const BlockGroup& group : loader_.groups())
    places_.emplace_back(static_cast<std::size_t>(group.count));
}

ResidentBlocks::Place& ResidentBlocks::place(BlockId id) {
  return places_[static_cast<std::size_t>(id.group)][static_cast<std::size_t>(id.index)];
}

void ResidentBlocks::load(BlockId id) {
  Place& target = place(id);
  if (target.memory.data() == nullptr) {
    target.memory = Buffer(loader_.allocator(), loader_.bytes_of(id.group));
    target.views = loader_.views(id.group, target.memory.data());
  }
  loader_.load(id, target.views);
  target.loaded = true;
  ++stats_.loaded;
}

void ResidentBlocks::preload(const LoadProgress& progress) {
  std::size_t done = 0;
  for (int group = 0; group < static_cast<int>(places_.size()); ++group) {
    for (int block = 0; block < loader_.groups()[static_cast<std::size_t>(group)].count; ++block) {
      if (!place({group, block}).loaded) load({group, block});
      done += loader_.bytes_of(group);
      if (progress) progress(done, bytes_);
    }
  }
}

void ResidentBlocks::set_schedule(std::span<const BlockId> schedule) {
  for (const BlockId id : schedule) loader_.check_id(id);
  schedule_.assign(schedule.begin(), schedule.end());
  next_ = 0;
}

BlockLease ResidentBlocks::acquire(BlockId id) {
  loader_.check_id(id);
  ++stats_.acquired;
  const auto found = std::find(schedule_.begin() + static_cast<std::ptrdiff_t>(next_), schedule_.end(), id);
  if (found == schedule_.end()) {
    ++stats_.unscheduled;
  } else {
    next_ = static_cast<std::size_t>(found - schedule_.begin()) + 1;
  }
  if (place(id).loaded) {
    ++stats_.ready;
  } else {
    const auto start = std::chrono::steady_clock::now();
    load(id);
    stats_.waited_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return make_lease(0, place(id).views);
}

}  // namespace wan
