#include "request/tasks.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace wan {

namespace {

constexpr std::array kTasks = {
    TaskInfo{"t2v-A14B", "Wan2.2-T2V-A14B", "t2v", 2, ImageUse::kNone, false},
    TaskInfo{"i2v-A14B", "Wan2.2-I2V-A14B", "i2v", 2, ImageUse::kRequired, true},
    TaskInfo{"ti2v-5B", "Wan2.2-TI2V-5B", "ti2v", 1, ImageUse::kOptional, false},
};
constexpr std::array<std::string_view, 2> kLaterTasks = {"s2v-14B", "animate-14B"};

}  // namespace

const TaskInfo& task_info(std::string_view name) {
  for (const TaskInfo& task : kTasks)
    if (task.name == name) return task;
  const bool later = std::find(kLaterTasks.begin(), kLaterTasks.end(), name) != kLaterTasks.end();
  WAN_CHECK(!later, kUnsupported, "--task {} is not built yet; this version has {}", name, task_names());
  fail(ErrorCode::kInvalidArgument, "--task {}: expected {}", name, task_names());
}

const TaskInfo* find_task(std::string_view model_type, int transformers) {
  for (const TaskInfo& task : kTasks)
    if (task.model_type == model_type && task.transformers == transformers) return &task;
  return nullptr;
}

std::string task_names() {
  std::string names;
  for (std::size_t i = 0; i < kTasks.size(); ++i) {
    if (i > 0) names += i + 1 == kTasks.size() ? " or " : ", ";
    names += kTasks[i].name;
  }
  return names;
}

}  // namespace wan
