#include "kept/keep_schedule.h"

#include <utility>

namespace wan {

KeepSchedule::KeepSchedule(KeepInterval interval)
    : interval_(std::move(interval)), rests_since_(interval_.clock()) {}

bool KeepSchedule::is_due(bool before_switch) const {
  constexpr double kRest = 100;
  if (interval_.every.count() <= 0) return false;
  const std::chrono::duration<double> rested = interval_.clock() - rests_since_;
  return rested >= kRest * took_ && (before_switch || rested >= interval_.every);
}

}  // namespace wan
