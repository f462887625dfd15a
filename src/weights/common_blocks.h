#pragma once
// CommonBlocks: blocks that the ranks of a process read from one checkpoint at about the same time: each is read and converted once, into
// host memory from which all ranks' devices copy it.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "tensor/buffer.h"

namespace wan {

/// Thread-safe. Nobody waits for a rank that does not come: a block that not all have taken makes room for another one after a while, and
/// who takes it later reads it again.
class CommonBlocks {
 public:
  struct Key {
    int model = 0;
    int block = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };

  /// So many blocks at a time, in the allocator's memory, which is taken when they are first wanted. One that not all ranks have taken
  /// `stays` for so long; by default as long as it took to read it, so that nobody waits longer than reading it again takes.
  CommonBlocks(int ranks, int places, Allocator& allocator,
               std::optional<std::chrono::milliseconds> stays = std::nullopt);

  /// Calls take(memory) once `bytes` of it hold the block: as fill() has left it, of this call or of another rank's. Throws what they throw.
  void take(int rank, Key key, std::size_t bytes, const std::function<void(std::byte* memory)>& fill,
            const std::function<void(std::byte* memory)>& take);
  /// The rank takes no more.
  void leave(int rank) noexcept;
  /// Calls of fill() so far.
  std::int64_t filled() const;

 private:
  using Clock = std::chrono::steady_clock;

  enum class State { kEmpty, kFilling, kReady };
  struct Place {
    Buffer memory;
    Key key;
    State state = State::kEmpty;
    int readers = 0;
    std::vector<bool> taken;  // by rank
    Clock::time_point ready_since;
    Clock::duration stays;  // from then on, for who has not taken it
  };

  Buffer take_memory(std::size_t bytes);
  // With mutex_ held.
  Place* find(Key key);
  /// For another block: nullptr where none is free yet.
  Place* free_place();
  bool is_taken_by_all(const Place& place) const;
  /// The block's, filled.
  Place& filled_place(Key key, std::size_t bytes, const std::function<void(std::byte* memory)>& fill,
                      std::unique_lock<std::mutex>& lock);

  Allocator& allocator_;
  std::optional<std::chrono::milliseconds> stays_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> places_;
  std::vector<bool> left_;  // by rank
  std::int64_t filled_ = 0;
};

}  // namespace wan
