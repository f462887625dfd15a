#include "tasks/task_table.h"

#include <algorithm>

#include "base/error.h"
#include "tasks/animate/character_animation.h"
#include "tasks/i2v/image_to_video.h"
#include "tasks/s2v/speech_to_video.h"
#include "tasks/t2v/text_to_video.h"
#include "tasks/ti2v/text_image_to_video.h"

namespace wan {

std::span<const Task* const> all_tasks() {
  static const TextToVideo t2v;
  static const ImageToVideo i2v;
  static const TextImageToVideo ti2v;
  static const SpeechToVideo s2v;
  static const CharacterAnimation animate;
  static const Task* const tasks[] = {&t2v, &i2v, &ti2v, &s2v, &animate};
  return tasks;
}

const Task& find_task(std::string_view name) {
  for (const Task* task : all_tasks())
    if (task->facts().name == name) return *task;
  fail(ErrorCode::kInvalidArgument, "`task` {}: expected {}", name, task_names());
}

const Task* find_task_of(std::string_view model_type, std::span<const std::string_view> transformers) {
  for (const Task* task : all_tasks()) {
    const TaskFacts& facts = task->facts();
    if (facts.model_type == model_type && std::equal(facts.transformers.begin(), facts.transformers.end(),
                                                     transformers.begin(), transformers.end()))
      return task;
  }
  return nullptr;
}

std::string task_names(const std::function<bool(const TaskFacts&)>& chosen, std::string_view last) {
  std::vector<std::string_view> names;
  for (const Task* task : all_tasks())
    if (chosen(task->facts())) names.push_back(task->facts().name);
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? fmt::format(" {} ", last) : ", ";
    text += names[i];
  }
  return text;
}

}  // namespace wan
