#pragma once
// The table of tasks: all that this version has.

#include <functional>
#include <span>

#include "tasks/task.h"

namespace wan {

std::span<const Task* const> all_tasks();

/// Throws Unsupported for a task of Wan2.2 that is not built yet and InvalidArgument for any other name.
const Task& find_task(std::string_view name);

/// The task whose transformers have this type and lie in these folders; nullptr where there is none.
const Task* find_task_of(std::string_view model_type, std::span<const std::string_view> transformers);

/// "t2v-A14B, i2v-A14B or ti2v-5B", of those that `chosen` takes, with `last` between the last two.
std::string task_names(
    const std::function<bool(const TaskFacts&)>& chosen = [](const TaskFacts&) { return true; },
    std::string_view last = "or");

}  // namespace wan
