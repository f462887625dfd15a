#pragma once
// The tasks of Wan2.2 as data: what each needs of a checkpoint and takes from a request.

#include <string>
#include <string_view>

namespace wan {

enum class ImageUse { kNone, kOptional, kRequired };

struct TaskInfo {
  std::string_view name;        // "i2v-A14B", the value of --task
  std::string_view checkpoint;  // the published checkpoint, for messages: "Wan2.2-I2V-A14B"
  std::string_view model_type;  // of its transformers' config.json: "i2v"
  int transformers;             // 2: one expert for high noise, one for low
  ImageUse image;
  bool takes_last_image;
};

/// Throws Unsupported for a task of Wan2.2 that is not built yet and InvalidArgument for any other name.
const TaskInfo& task_info(std::string_view name);

/// The task whose checkpoint has transformers of this type and number; nullptr where there is none.
const TaskInfo* find_task(std::string_view model_type, int transformers);

/// "t2v-A14B, i2v-A14B or ti2v-5B"
std::string task_names();

}  // namespace wan
