#include "weights/resident_blocks.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace wan {

ResidentBlocks::ResidentBlocks(std::vector<BlockGroup> groups, const ResidencyOptions& options)
    : loader_(std::move(groups), 0, options.upload, options.copy),
      mark_use_(options.mark_use),
      keep_(options.keep),
      bytes_(residency_bytes(loader_.groups(), {})),
      places_(loader_.block_count()) {
  for (const BlockGroup& group : loader_.groups())
    WAN_CHECK(!group.share.shards, kInternal,
              "[residency] blocks that ranks divide need places to be streamed into");
}

void ResidentBlocks::load(BlockId id) {
  Place& target = place(id);
  if (target.memory.data() == nullptr) {
    target.memory = Buffer(loader_.allocator(), loader_.bytes_of(id));
    target.views = loader_.views(id, target.memory.data());
    target.additions = loader_.additions(id, target.memory.data());
    // A device's allocator may give out what work that is enqueued still uses.
    if (mark_use_ && loader_.group_of(id).share.common)
      if (const std::function<void()> wait_until_unused = mark_use_()) wait_until_unused();
  }
  loader_.load(id, target.views);
  target.loaded = true;
  ++stats_.loaded;
}

void ResidentBlocks::preload(const LoadProgress& progress) {
  std::size_t done = 0;
  for (int group = 0; group < static_cast<int>(loader_.groups().size()); ++group) {
    for (int block = 0; block < loader_.groups()[static_cast<std::size_t>(group)].count; ++block) {
      {
        const std::scoped_lock lock(mutex_);
        if (!place({group, block}).loaded) load({group, block});
      }
      done += loader_.bytes_of({group, block});
      if (progress) progress(done, bytes_);
    }
  }
}

void ResidentBlocks::set_schedule(std::span<const BlockId> schedule) {
  for (const BlockId id : schedule) loader_.check_id(id);
  const std::scoped_lock lock(mutex_);
  schedule_.assign(schedule.begin(), schedule.end());
  next_ = 0;
  scheduled_ = true;
  for (Place& each : places_) each.to_come = 0;
  for (const BlockId id : schedule_) ++place(id).to_come;
  for (Place& each : places_) drop_if_done(each);
}

BlockLease ResidentBlocks::acquire(BlockId id) {
  loader_.check_id(id);
  const std::scoped_lock lock(mutex_);
  ++stats_.acquired;
  const auto found = std::find(schedule_.begin() + static_cast<std::ptrdiff_t>(next_), schedule_.end(), id);
  Place& wanted = place(id);
  ++wanted.leases;  // not to be dropped as skipped
  if (found == schedule_.end()) {
    ++stats_.unscheduled;
  } else {
    const auto end = static_cast<std::size_t>(found - schedule_.begin()) + 1;
    for (; next_ < end; ++next_) {
      Place& passed = place(schedule_[next_]);
      --passed.to_come;
      drop_if_done(passed);
    }
  }
  if (wanted.loaded) {
    ++stats_.ready;
  } else {
    const auto start = std::chrono::steady_clock::now();
    try {
      load(id);
    } catch (...) {
      --wanted.leases;
      throw;
    }
    stats_.waited_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return make_lease(loader_.number(id), {wanted.views, wanted.additions});
}

ResidencyStats ResidentBlocks::stats() const {
  const std::scoped_lock lock(mutex_);
  return stats_;
}

void ResidentBlocks::release(std::size_t place) noexcept {
  const std::scoped_lock lock(mutex_);
  --places_[place].leases;
  drop_if_done(places_[place]);
}

void ResidentBlocks::drop_if_done(Place& place) noexcept {
  if (keep_ || !scheduled_ || place.leases > 0 || place.to_come > 0 || !place.loaded) return;
  place.loaded = false;
  place.views.clear();
  place.additions.clear();
  place.memory = Buffer();
}

}  // namespace wan
