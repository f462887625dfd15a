#pragma once
// KeepSchedule: when the sampler's state is kept while a run denoises.

#include <chrono>
#include <functional>

namespace wan {

struct KeepInterval {
  std::chrono::duration<double> every{0};  // 0: never
  std::function<std::chrono::steady_clock::time_point()> clock = std::chrono::steady_clock::now;
};

/// Keeping takes less than one per cent of the time: after it the schedule rests a hundred times as long as it took.
class KeepSchedule {
 public:
  explicit KeepSchedule(KeepInterval interval);

  /// Between two steps; `before_switch`: the next one is another expert's, and no interval is waited for.
  bool is_due(bool before_switch) const;

  /// work(), which keeps the state or fails to: its time counts either way.
  template <typename Work>
  void keep(Work&& work) {
    const auto begin = interval_.clock();
    work();
    rests_since_ = interval_.clock();
    took_ = rests_since_ - begin;
  }

  /// What the last keep() took.
  std::chrono::duration<double> took() const { return took_; }

 private:
  KeepInterval interval_;
  std::chrono::steady_clock::time_point rests_since_;
  std::chrono::duration<double> took_{0};
};

}  // namespace wan
