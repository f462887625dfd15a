#pragma once
// LocalGroup: what ranks that are threads of one process share: a reusable barrier that can be aborted, and a board where each posts what
// the others copy.

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "tensor/compute_device.h"

namespace wan {

class LocalGroup {
 public:
  using Mark = std::shared_ptr<const WorkMark>;

  /// What a rank lets the others read in an exchange, from its mark on.
  struct Posted {
    std::vector<TensorView> views;
    Mark ready;
  };

  /// How many exchanges the board holds, by number. A rank posts the next one in a place of it after a barrier that follows its last look
  /// at the one before.
  static constexpr std::uint64_t kExchanges = 32;

  LocalGroup(int size, std::chrono::milliseconds timeout);

  int size() const { return size_; }

  /// Ranks leave an aborted barrier, and wait_until_read(), only when nobody reads any rank's views any more, for its own may go with it.
  void wait() { pass(0); }
  /// The barrier after which every rank reads, and then calls stop_reading().
  void wait_to_read() { pass(size_); }
  void stop_reading() noexcept;
  void wait_until_read() noexcept;

  void abort(const Error& cause) noexcept;
  void check() const;

  void change_resting(int by) noexcept;
  bool anyone_rests() const;

  /// A rank posts before wait_to_read(), the others look after it. What it has read it posts before stop_reading(); the others look after
  /// the next barrier.
  void post(std::uint64_t exchange, int rank, Posted posted);
  const Posted& posted(std::uint64_t exchange, int rank) const { return at(exchange, rank).posted; }
  /// Where a rank's device has read what the others posted.
  void post_read(std::uint64_t exchange, int rank, Mark mark);
  const Mark& read(std::uint64_t exchange, int rank) const { return at(exchange, rank).read; }

 private:
  struct Entry {
    Posted posted;
    Mark read;
  };

  void pass(int readers);
  const Entry& at(std::uint64_t exchange, int rank) const {
    return board_[exchange % board_.size()][static_cast<std::size_t>(rank)];
  }

  const int size_;
  const std::chrono::milliseconds timeout_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int reading_ = 0;  // ranks that may still read what was posted
  std::uint64_t generation_ = 0;
  int resting_ = 0;
  std::optional<Error> cause_;                        // why the group is at its end
  std::array<std::vector<Entry>, kExchanges> board_;  // each rank writes its own
};

}  // namespace wan
