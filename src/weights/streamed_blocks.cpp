#include "weights/streamed_blocks.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace wan {

StreamedBlocks::StreamedBlocks(std::vector<BlockGroup> groups, ResidencyOptions options)
    : loader_(std::move(groups), options.threads, options.upload),
      options_(std::move(options)),
      bytes_(residency_bytes(loader_.groups(), options_)) {
  WAN_CHECK(options_.places >= 2, kInternal, "[residency] streaming needs 2 places or more, got {}",
            options_.places);
  if (!loader_.groups().front().scope.loads()) return;
  allocate_places();
  thread_ = std::thread([this] { run(); });
}

StreamedBlocks::~StreamedBlocks() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StreamedBlocks::allocate_places() {
  const std::size_t place_bytes = bytes_ / static_cast<std::size_t>(options_.places);
  places_.resize(static_cast<std::size_t>(options_.places));
  for (Place& place : places_) {
    place.memory = Buffer(loader_.allocator(), place_bytes);
    for (int group = 0; group < static_cast<int>(loader_.groups().size()); ++group)
      place.views.push_back(loader_.views(group, place.memory.data()));
  }
}

void StreamedBlocks::preload(const LoadProgress& progress) {
  check_loads();
  std::unique_lock lock(mutex_);
  if (next_ == schedule_.size()) return;
  wait_for(schedule_[next_], lock);
  lock.unlock();
  if (progress) progress(bytes_, bytes_);
}

void StreamedBlocks::set_schedule(std::span<const BlockId> schedule) {
  for (const BlockId id : schedule) loader_.check_id(id);
  {
    const std::lock_guard lock(mutex_);
    schedule_.assign(schedule.begin(), schedule.end());
    next_ = 0;
  }
  changed_.notify_all();
}

BlockLease StreamedBlocks::acquire(BlockId id) {
  loader_.check_id(id);
  check_loads();
  std::unique_lock lock(mutex_);
  advance_schedule(id);
  ++stats_.acquired;
  const Place* found = find(id);
  if (found == nullptr) check_free_place(id);
  if (found != nullptr && found->state == State::kReady) ++stats_.ready;
  Place& place = wait_for(id, lock);
  ++place.leases;
  const std::vector<TensorView>& views = place.views[static_cast<std::size_t>(id.group)];
  lock.unlock();
  changed_.notify_all();  // the schedule has moved on: the next block can come
  return make_lease(static_cast<std::size_t>(&place - places_.data()), views);
}

// Returns the block's place once it is filled; throws what filling it threw and empties the place.
StreamedBlocks::Place& StreamedBlocks::wait_for(BlockId id, std::unique_lock<std::mutex>& lock) {
  const auto start = std::chrono::steady_clock::now();
  Place* place = nullptr;
  urgent_ = id;
  changed_.notify_all();
  changed_.wait(lock, [&] {
    place = find(id);
    return place != nullptr && place->state != State::kLoading;
  });
  urgent_.reset();
  stats_.waited_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (place->state == State::kFailed) {
    place->state = State::kEmpty;
    std::rethrow_exception(std::exchange(place->error, nullptr));
  }
  return *place;
}

void StreamedBlocks::release(std::size_t index) noexcept {
  std::function<void()> use;
  if (options_.mark_use) use = options_.mark_use();
  {
    const std::lock_guard lock(mutex_);
    if (use) places_[index].uses.push_back(std::move(use));
    --places_[index].leases;
  }
  changed_.notify_all();
}

ResidencyStats StreamedBlocks::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

StreamedBlocks::Place* StreamedBlocks::find(BlockId id) {
  const auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& place) {
    return place.state != State::kEmpty && place.id == id;
  });
  return found != places_.end() ? &*found : nullptr;
}

void StreamedBlocks::advance_schedule(BlockId id) {
  const auto found = std::find(schedule_.begin() + static_cast<std::ptrdiff_t>(next_), schedule_.end(), id);
  if (found == schedule_.end()) {
    ++stats_.unscheduled;
  } else {
    next_ = static_cast<std::size_t>(found - schedule_.begin()) + 1;
  }
}

// The blocks that should be in place, most urgent first, as many as there are places.
std::vector<BlockId> StreamedBlocks::wanted() const {
  std::vector<BlockId> ids;
  if (urgent_.has_value()) ids.push_back(*urgent_);
  for (std::size_t i = next_; i < schedule_.size() && ids.size() < places_.size(); ++i)
    if (std::find(ids.begin(), ids.end(), schedule_[i]) == ids.end()) ids.push_back(schedule_[i]);
  return ids;
}

StreamedBlocks::Place* StreamedBlocks::free_place(std::span<const BlockId> keep) {
  const auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& place) {
    return place.leases == 0 &&
           (place.state == State::kEmpty || std::find(keep.begin(), keep.end(), place.id) == keep.end());
  });
  return found != places_.end() ? &*found : nullptr;
}

std::optional<StreamedBlocks::Work> StreamedBlocks::next_work() {
  const std::vector<BlockId> ids = wanted();
  for (const BlockId id : ids) {
    if (find(id) != nullptr) continue;
    Place* place = free_place(ids);
    // What is waited for now goes before what the schedule wants later.
    if (place == nullptr && urgent_ == id) place = free_place({});
    if (place == nullptr) return std::nullopt;
    return Work{place, id};
  }
  return std::nullopt;
}

void StreamedBlocks::check_loads() const {
  WAN_CHECK(!places_.empty(), kInternal, "[residency] acquiring from a scope that only describes");
}

void StreamedBlocks::check_free_place(BlockId id) const {
  const bool all_leased =
      std::all_of(places_.begin(), places_.end(), [](const Place& place) { return place.leases > 0; });
  WAN_CHECK(!all_leased, kInternal,
            "[residency] block {} of group {} needs a place while all {} are leased: release a lease first",
            id.index, id.group, places_.size());
}

void StreamedBlocks::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<Work> work;
    changed_.wait(lock, [&] { return stop_ || (work = next_work()).has_value(); });
    if (stop_) return;
    load(*work, lock);
    changed_.notify_all();
  }
}

void StreamedBlocks::load(const Work& work, std::unique_lock<std::mutex>& lock) {
  Place& place = *work.place;
  place.state = State::kLoading;
  place.id = work.id;
  const std::vector<std::function<void()>> uses = std::exchange(place.uses, {});
  lock.unlock();
  std::exception_ptr error;
  try {
    for (const std::function<void()>& wait_until_unused : uses) wait_until_unused();
    loader_.load(work.id, place.views[static_cast<std::size_t>(work.id.group)]);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  place.state = error ? State::kFailed : State::kReady;
  place.error = error;
  if (!error) ++stats_.loaded;
}

}  // namespace wan
