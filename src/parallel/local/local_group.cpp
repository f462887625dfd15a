#include "parallel/local/local_group.h"

#include <algorithm>

namespace wan {

LocalGroup::LocalGroup(int size, std::chrono::milliseconds timeout) : size_(size), timeout_(timeout) {
  for (std::vector<Entry>& entries : board_) entries.resize(static_cast<std::size_t>(size));
}

void LocalGroup::stop_reading() noexcept {
  const std::lock_guard lock(mutex_);
  --reading_;
  changed_.notify_all();
}

void LocalGroup::wait_until_read() noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reading_ == 0; });
}

void LocalGroup::abort(const Error& cause) noexcept {
  const std::lock_guard lock(mutex_);
  if (!cause_) cause_ = cause;
  changed_.notify_all();
}

void LocalGroup::check() const {
  const std::lock_guard lock(mutex_);
  if (cause_) throw Error(*cause_);
}

void LocalGroup::change_resting(int by) noexcept {
  const std::lock_guard lock(mutex_);
  resting_ += by;
}

bool LocalGroup::anyone_rests() const {
  const std::lock_guard lock(mutex_);
  return resting_ > 0;
}

void LocalGroup::post(std::uint64_t exchange, int rank, Posted posted) {
  board_[exchange % board_.size()][static_cast<std::size_t>(rank)] = {std::move(posted), nullptr};
}

void LocalGroup::post_read(std::uint64_t exchange, int rank, Mark mark) {
  board_[exchange % board_.size()][static_cast<std::size_t>(rank)].read = std::move(mark);
}

void LocalGroup::pass(int readers) {
  std::unique_lock lock(mutex_);
  const std::uint64_t generation = generation_;
  if (!cause_ && ++arrived_ == size_) {
    arrived_ = 0;
    reading_ = readers;
    ++generation_;
    changed_.notify_all();
    return;
  }
  const auto over = [&] { return generation_ != generation || (cause_ && reading_ == 0); };
  // In slices, of which a process that was stopped meanwhile loses one and not all.
  constexpr std::chrono::milliseconds kSlice{1000};
  const std::chrono::milliseconds slice = std::min<std::chrono::milliseconds>(timeout_, kSlice);
  for (std::chrono::milliseconds waited{}; !changed_.wait_for(lock, slice, over);) {
    if (resting_ == 0) waited += slice;
    if (waited < timeout_ || cause_) continue;
    cause_ =
        Error(ErrorCode::kDevice,
              format_message(
                  "{} of {} ranks did not come to an exchange within {:.3g} s: a device does not answer, or "
                  "the work between two exchanges takes longer than `rank_timeout` says",
                  size_ - arrived_, size_, std::chrono::duration<double>(timeout_).count()),
              "rank_timeout");
    changed_.notify_all();
  }
  if (generation_ == generation) throw Error(*cause_);
}

}  // namespace wan
