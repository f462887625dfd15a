#include "tasks/presets.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "diffusion/scheduler.h"

namespace wan {

namespace {

/// Boundaries are the tasks' own. Guidance 1 is one pass a step.
struct Preset {
  std::string_view name;
  std::vector<std::string_view> tasks;
  std::string_view solver;
  int steps;
  double shift;
  GuidanceScale guidance;
  bool whole_timesteps;  // the official truncation; distilled models know their grid to the fraction
};

/// Of Wan2.2-Lightning and LightX2V's distilled models and LoRAs: denoising_step_list [1000, 750, 500, 250] before a shift of 5. On both
/// models' boundaries four steps are two of each expert; eight are four and four of T2V-A14B, three and five of I2V-A14B.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      {"lightning-4", {"t2v-A14B", "i2v-A14B"}, "euler", 4, 5.0, {1.0, 1.0}, false},
      {"lightning-8", {"t2v-A14B", "i2v-A14B"}, "euler", 8, 5.0, {1.0, 1.0}, false},
  };
  return table;
}

const Preset& find_preset(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    names.push_back(preset.name);
  }
  fail(ErrorCode::kInvalidArgument, "`preset` {}: expected {}", shortened(name), fmt::join(names, " or "));
}

bool is_for(const Preset& preset, std::string_view task) {
  return std::find(preset.tasks.begin(), preset.tasks.end(), task) != preset.tasks.end();
}

void apply(const Preset& preset, GenerationRequest& request) {
  WAN_CHECK(
      is_for(preset, request.task), kInvalidArgument,
      "`preset` {} is of {}; set the steps of {} by hand: `sample_steps`, `sample_shift`, `sample_solver`, "
      "`sample_guide_scale`",
      preset.name, fmt::join(preset.tasks, " and "), request.task);
  if (!request.sample_solver) request.sample_solver = std::string(preset.solver);
  if (!request.sample_guide_scale) request.sample_guide_scale = preset.guidance;
  if (!request.sample_shift) request.sample_shift = preset.shift;
  if (request.sample_timesteps) return;
  if (!request.sample_steps) request.sample_steps = preset.steps;
  const bool possible = *request.sample_steps >= 1 && *request.sample_steps <= Scheduler::kTrainTimesteps;
  if (!preset.whole_timesteps && possible && *request.sample_shift > 0)
    request.sample_timesteps = distilled_timesteps(*request.sample_steps, *request.sample_shift);
}

}  // namespace

GenerationRequest with_preset(GenerationRequest request) {
  if (request.preset) apply(find_preset(*request.preset), request);
  if (!request.sample_timesteps) return request;
  const auto count = static_cast<int>(request.sample_timesteps->size());
  WAN_CHECK(request.sample_steps.value_or(count) == count, kInvalidArgument,
            "`sample_steps` {}: `sample_timesteps` has {}; leave one of them out", *request.sample_steps,
            count);
  request.sample_steps = count;
  return request;
}

int steps_in_name(std::string_view file_name) {
  std::string name(file_name);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  for (std::size_t at = name.find("step"); at != std::string::npos; at = name.find("step", at + 1)) {
    std::size_t end = at;
    if (end > 0 && (name[end - 1] == '-' || name[end - 1] == '_')) --end;
    std::size_t begin = end;
    while (begin > 0 && std::isdigit(static_cast<unsigned char>(name[begin - 1])) != 0) --begin;
    if (begin < end && end - begin <= 2) return std::stoi(name.substr(begin, end - begin));
  }
  return 0;
}

std::optional<std::string_view> preset_for(std::string_view task, int steps) {
  for (const Preset& preset : presets())
    if (preset.steps == steps && is_for(preset, task)) return preset.name;
  return std::nullopt;
}

}  // namespace wan
