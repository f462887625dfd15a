#include "weights/common_blocks.h"

#include <algorithm>

#include "base/error.h"

namespace wan {

namespace {

constexpr std::chrono::milliseconds kLook{5};  // between two at what stays

}  // namespace

CommonBlocks::CommonBlocks(int ranks, int places, Allocator& allocator,
                           std::optional<std::chrono::milliseconds> stays)
    : allocator_(allocator),
      stays_(stays),
      places_(static_cast<std::size_t>(places)),
      left_(static_cast<std::size_t>(ranks)) {
  WAN_CHECK(ranks >= 1 && places >= 1, kInternal, "[common blocks] {} ranks, {} places", ranks, places);
}

void CommonBlocks::take(int rank, Key key, std::size_t bytes,
                        const std::function<void(std::byte* memory)>& fill,
                        const std::function<void(std::byte* memory)>& take) {
  std::unique_lock lock(mutex_);
  Place& place = filled_place(key, bytes, fill, lock);
  ++place.readers;
  lock.unlock();
  const auto end = [&](bool taken) {
    lock.lock();
    --place.readers;
    if (taken) place.taken[static_cast<std::size_t>(rank)] = true;
    changed_.notify_all();
  };
  try {
    take(place.memory.data());
  } catch (...) {
    end(false);
    throw;
  }
  end(true);
}

Buffer CommonBlocks::take_memory(std::size_t bytes) {
  try {
    return {allocator_, bytes};
  } catch (const Error& error) {  // where no more can be locked, copies from other memory take longer
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    return {cpu_allocator(), bytes};
  }
}

CommonBlocks::Place& CommonBlocks::filled_place(Key key, std::size_t bytes,
                                                const std::function<void(std::byte* memory)>& fill,
                                                std::unique_lock<std::mutex>& lock) {
  while (true) {
    Place* place = find(key);
    if (place != nullptr && place->state == State::kReady) return *place;
    if (place == nullptr) place = free_place();
    if (place == nullptr || place->state == State::kFilling) {
      changed_.wait_for(lock, kLook);
      continue;
    }
    place->key = key;
    place->state = State::kFilling;
    lock.unlock();
    const Clock::time_point start = Clock::now();
    try {
      if (place->memory.size() < bytes) place->memory = take_memory(bytes);
      fill(place->memory.data());
    } catch (...) {  // another rank tries for itself
      lock.lock();
      place->state = State::kEmpty;
      changed_.notify_all();
      throw;
    }
    lock.lock();
    ++filled_;
    place->state = State::kReady;
    place->ready_since = Clock::now();
    place->stays = stays_ ? Clock::duration(*stays_) : place->ready_since - start;
    place->taken.assign(left_.size(), false);
    changed_.notify_all();
    return *place;
  }
}

CommonBlocks::Place* CommonBlocks::find(Key key) {
  const auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& place) {
    return place.state != State::kEmpty && place.key == key;
  });
  return found != places_.end() ? &*found : nullptr;
}

CommonBlocks::Place* CommonBlocks::free_place() {
  Place* oldest = nullptr;
  for (Place& place : places_) {
    if (place.state == State::kEmpty) return &place;
    if (place.state == State::kFilling || place.readers > 0) continue;
    if (!is_taken_by_all(place) && Clock::now() - place.ready_since < place.stays) continue;
    if (oldest == nullptr || place.ready_since < oldest->ready_since) oldest = &place;
  }
  return oldest;
}

bool CommonBlocks::is_taken_by_all(const Place& place) const {
  for (std::size_t rank = 0; rank < left_.size(); ++rank)
    if (!left_[rank] && !place.taken[rank]) return false;
  return true;
}

void CommonBlocks::leave(int rank) noexcept {
  const std::lock_guard lock(mutex_);
  left_[static_cast<std::size_t>(rank)] = true;
  changed_.notify_all();
}

std::int64_t CommonBlocks::filled() const {
  const std::lock_guard lock(mutex_);
  return filled_;
}

}  // namespace wan
