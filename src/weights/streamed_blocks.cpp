#include "weights/streamed_blocks.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace wan {

namespace {

constexpr std::size_t kNever = static_cast<std::size_t>(-1);
/// Blocks of the schedule that are loaded at the cost of others which are needed again: the next one, and one more.
constexpr std::size_t kAhead = 2;

}  // namespace

StreamedBlocks::StreamedBlocks(std::vector<BlockGroup> groups, ResidencyOptions options)
    : loader_(std::move(groups), options.threads, options.upload, options.copy),
      options_(std::move(options)),
      gathering_(loader_, options_.copy),
      bytes_(residency_bytes(loader_.groups(), options_)) {
  WAN_CHECK(options_.places >= 2, kInternal, "[residency] streaming needs 2 places or more, got {}",
            options_.places);
  next_uses_.assign(loader_.block_count(), kNever);
  for (int group = 0; group < static_cast<int>(loader_.groups().size()); ++group)
    for (int block = 0; block < loader_.groups()[static_cast<std::size_t>(group)].count; ++block)
      place_bytes_ = std::max(place_bytes_, loader_.bytes_of({group, block}));
  if (!loader_.groups().front().scope.loads()) return;
  places_.resize(static_cast<std::size_t>(options_.places));
  for (Place& place : places_) take_memory(place);
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

void StreamedBlocks::take_memory(Place& place) {
  place.memory = Buffer(loader_.allocator(), place_bytes_);
  // A device's allocator may give out what work that is enqueued still uses.
  if (options_.mark_use)
    if (std::function<void()> use = options_.mark_use()) place.uses.push_back(std::move(use));
}

void StreamedBlocks::take_places(std::size_t count) {
  for (std::size_t i = 0; i < std::min(count, places_.size()); ++i)
    if (places_[i].memory.data() == nullptr) take_memory(places_[i]);
}

// What the rest of the schedule cannot fill goes back, where blocks are not kept; not while acquire() waits for a place or for
// what is in it, as leases may end on other threads meanwhile.
void StreamedBlocks::give_back_surplus() noexcept {
  if (options_.keep || !scheduled_ || urgent_.has_value()) return;
  auto held = static_cast<std::size_t>(std::count_if(
      places_.begin(), places_.end(), [](const Place& place) { return place.memory.data() != nullptr; }));
  for (Place& place : places_) {
    if (held <= scheduled_blocks_) return;
    if (place.memory.data() == nullptr || place.leases > 0 || place.state == State::kLoading ||
        next_use(place) != kNever)
      continue;
    place = Place{};
    --held;
  }
}

// Of what the schedule names no more, where blocks are not kept. A block may be in a place, or on its way to one, all the same.
void StreamedBlocks::give_up_shares() noexcept {
  if (options_.keep || !scheduled_) return;
  for (int group = 0; group < static_cast<int>(loader_.groups().size()); ++group) {
    const BlockGroup& model = loader_.groups()[static_cast<std::size_t>(group)];
    for (BlockId id{group, 0}; model.share.shards && id.index < model.count; ++id.index) {
      const Place* place = find(id);
      const bool on_its_way = urgent_ == id || (place != nullptr && place->state == State::kLoading);
      if (next_uses_[loader_.number(id)] == kNever && !on_its_way) gathering_.give_up(id);
    }
  }
}

void StreamedBlocks::preload(const LoadProgress& progress) {
  check_loads();
  gathering_.load_shares(options_.mark_use, [&](std::size_t done) {
    if (progress) progress(done, bytes_);
  });
  {
    std::unique_lock lock(mutex_);
    if (next_ < schedule_.size()) wait_for(schedule_[next_], lock);
  }
  if (progress) progress(bytes_, bytes_);
}

void StreamedBlocks::set_schedule(std::span<const BlockId> schedule) {
  for (const BlockId id : schedule) loader_.check_id(id);
  {
    const std::lock_guard lock(mutex_);
    schedule_.assign(schedule.begin(), schedule.end());
    next_ = 0;
    scheduled_ = true;
    count_uses();
    take_places(scheduled_blocks_);
    give_back_surplus();
    give_up_shares();
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
  if (found == nullptr) ensure_free_place(id);
  if (found != nullptr && found->state == State::kReady) ++stats_.ready;
  Place& place = wait_for(id, lock);
  ++place.leases;
  const LeasedWeights leased{place.views, place.additions};
  lock.unlock();
  changed_.notify_all();  // the schedule has moved on: the next block can come
  return make_lease(static_cast<std::size_t>(&place - places_.data()), leased);
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
    give_back_surplus();
    give_up_shares();
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
    count_uses();
  }
}

void StreamedBlocks::count_uses() {
  std::fill(next_uses_.begin(), next_uses_.end(), kNever);
  scheduled_blocks_ = 0;
  for (std::size_t i = schedule_.size(); i-- > next_;) {
    std::size_t& use = next_uses_[loader_.number(schedule_[i])];
    if (use == kNever) ++scheduled_blocks_;
    use = i;
  }
}

std::size_t StreamedBlocks::next_use(const Place& place) const {
  return place.state == State::kEmpty ? kNever : next_uses_[loader_.number(place.id)];
}

// Among the places without a lease; nullptr where there is none.
StreamedBlocks::Place* StreamedBlocks::needed_last() {
  Place* last = nullptr;
  for (Place& place : places_) {
    if (place.memory.data() == nullptr || place.leases > 0) continue;
    if (place.state != State::kEmpty && urgent_ == place.id) continue;  // about to be leased
    if (last == nullptr || next_use(place) > next_use(*last)) last = &place;
  }
  return last;
}

std::optional<StreamedBlocks::Work> StreamedBlocks::next_work() {
  Place* place = needed_last();
  if (place == nullptr) return std::nullopt;
  // What is waited for now goes before what the schedule wants later.
  if (urgent_.has_value() && find(*urgent_) == nullptr) return Work{place, *urgent_};
  const std::size_t free_from = next_use(*place);
  std::size_t passed = 0;  // blocks in place that come before
  for (std::size_t i = next_; i < std::min(free_from, schedule_.size()); ++i) {
    if (next_uses_[loader_.number(schedule_[i])] != i) continue;  // named before
    if (find(schedule_[i]) == nullptr) return Work{place, schedule_[i]};
    if (++passed == kAhead && free_from != kNever) return std::nullopt;
  }
  return std::nullopt;
}

void StreamedBlocks::check_loads() const {
  WAN_CHECK(!places_.empty(), kInternal, "[residency] acquiring from a scope that only describes");
}

void StreamedBlocks::ensure_free_place(BlockId id) {
  if (needed_last() != nullptr) return;
  const auto loading = [](const Place& place) { return place.state == State::kLoading; };
  if (std::any_of(places_.begin(), places_.end(), loading)) return;
  const auto unused = std::find_if(places_.begin(), places_.end(),
                                   [](const Place& place) { return place.memory.data() == nullptr; });
  WAN_CHECK(unused != places_.end(), kInternal,
            "[residency] block {} of group {} needs a place while all {} are leased: release a lease first",
            id.index, id.group, places_.size());
  take_memory(*unused);
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
  place.views = loader_.views(work.id, place.memory.data());
  place.additions = loader_.additions(work.id, place.memory.data());
  const std::vector<std::function<void()>> uses = std::exchange(place.uses, {});
  lock.unlock();
  std::exception_ptr error;
  try {
    for (const std::function<void()>& wait_until_unused : uses) wait_until_unused();
    if (!gathering_.gather(work.id, place.memory.data())) loader_.load(work.id, place.views);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  place.state = error ? State::kFailed : State::kReady;
  place.error = error;
  if (!error) ++stats_.loaded;
}

}  // namespace wan
