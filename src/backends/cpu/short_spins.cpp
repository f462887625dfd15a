#include "backends/cpu/short_spins.h"

#include <omp.h>

#include <condition_variable>
#include <cstdlib>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace wan {

namespace {

[[maybe_unused]] int surplus_threads() {
  return omp_get_num_procs() + 1;
}

/// Whether this process may start so many threads: the runtime ends the process where it cannot.
[[maybe_unused]] bool may_start(int count) {
  std::latch probed(1);
  std::vector<std::jthread> started;
  started.reserve(static_cast<std::size_t>(count));
  bool all = true;
  try {
    for (int i = 0; i < count; ++i) started.emplace_back([&] { probed.wait(); });
  } catch (const std::system_error&) {
    all = false;
  }
  probed.count_down();
  return all;
}

}  // namespace

/// The surplus team: its threads belong to the thread that formed it, and sleep until that one ends.
class ShortSpins {
 public:
  ShortSpins() : thread_([this] { run(); }) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return formed_; });
  }

  ~ShortSpins() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  ShortSpins(const ShortSpins&) = delete;
  ShortSpins& operator=(const ShortSpins&) = delete;

 private:
  void run() {
    int formed = 0;
#pragma omp parallel num_threads(surplus_threads()) reduction(+ : formed)
    ++formed;  // an empty region would be optimized away
    std::unique_lock lock(mutex_);
    formed_ = formed > 0;
    changed_.notify_all();
    changed_.wait(lock, [this] { return over_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool formed_ = false;
  bool over_ = false;
  std::thread thread_;  // last: it uses the others
};

std::shared_ptr<ShortSpins> hold_short_spins(int threads) {
#if defined(__GNUC__) && !defined(__clang__)
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return nullptr;
  static std::mutex mutex;
  static std::weak_ptr<ShortSpins> shared;
  const std::lock_guard lock(mutex);
  std::shared_ptr<ShortSpins> held = shared.lock();
  if (held != nullptr || !may_start(1 + surplus_threads() + threads)) return held;
  held = std::make_shared<ShortSpins>();
  shared = held;
  return held;
#else
  static_cast<void>(threads);
  return nullptr;
#endif
}

}  // namespace wan
