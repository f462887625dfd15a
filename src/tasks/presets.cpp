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

/// The timesteps of a preset.
enum class Grid {
  kFractions,  // of steps and shift: distilled models know their grid to the fraction
  kOfficial,   // the solver's own, truncated to integers
};

struct Preset {
  std::string_view name;
  std::vector<std::string_view> tasks;
  std::string_view solver;
  int steps;
  double shift;
  Grid grid;
  std::vector<double> timesteps = {};   // in place of the grid, where neither steps nor shift are set by hand
  std::optional<double> boundary = {};  // in place of the task's own
  GuidanceScale guidance = {1.0, 1.0};  // one pass a step
};

/// A name may have several rows, of different tasks. On A14B's own boundaries four steps are two of each expert; eight are four and four of
/// T2V-A14B, three and five of I2V-A14B.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      // Wan2.2-Lightning, and LightX2V's Distill-Models and Distill-Loras: denoising_step_list [1000, 750, 500, 250] before the shift
      // (LightX2V, configs/wan22/wan_moe_t2v_distill_lora.json).
      {"lightning-4", {"t2v-A14B", "i2v-A14B"}, "euler", 4, 5.0, Grid::kFractions},
      {"lightning-8", {"t2v-A14B", "i2v-A14B"}, "euler", 8, 5.0, Grid::kFractions},
      // Animate with the LoRA of Wan2.1-I2V (LightX2V, configs/wan22/wan_animate_lora.json): four of the model's own steps.
      {"lightning-4", {"animate-14B"}, "unipc", 4, 5.0, Grid::kOfficial},
      // A first and a last frame (LightX2V, configs/wan22/wan_distill_moe_flf2v.json): boundary_step_index 2 of 1000, 979.6, 941.2, 842.1.
      {"lightning-flf2v-4", {"i2v-A14B"}, "euler", 4, 16.0, Grid::kFractions, {}, 0.96},
      // WanGP's own settings for the same LoRAs, which leave the solver at its default (Wan2GP, profiles/wan_2_2: "Lightning t2v v2025-12-17
      // 2 Phases", "Lightning i2v v2025-10-14 2 Phases"; switch_threshold 876).
      {"wangp-4", {"t2v-A14B"}, "unipc", 4, 3.0, Grid::kOfficial, {}, 0.876},
      {"wangp-4", {"i2v-A14B"}, "unipc", 4, 5.0, Grid::kOfficial, {}, 0.876},
      // FastWan2.2-TI2V-5B (FastVideo, FastWan2_2_TI2V_5B_Config: dmd_denoising_steps, flow_shift).
      {"fastwan-3", {"ti2v-5B"}, "euler", 3, 5.0, Grid::kFractions, {1000.0, 757.0, 522.0}},
      // Wan2.2-TI2V-5B-Turbo (its configs/inference/wan22.yaml): denoising_step_list [1000, 750, 500, 250], not shifted.
      {"turbo-4", {"ti2v-5B"}, "euler", 4, 1.0, Grid::kFractions},
  };
  return table;
}

bool is_for(const Preset& preset, std::string_view task) {
  return std::find(preset.tasks.begin(), preset.tasks.end(), task) != preset.tasks.end();
}

const Preset& find_preset(std::string_view name, std::string_view task) {
  std::vector<std::string_view> names;
  std::vector<std::string_view> tasks;
  for (const Preset& preset : presets()) {
    if (preset.name == name && is_for(preset, task)) return preset;
    if (preset.name == name) tasks.insert(tasks.end(), preset.tasks.begin(), preset.tasks.end());
    if (std::find(names.begin(), names.end(), preset.name) == names.end()) names.push_back(preset.name);
  }
  WAN_CHECK(!tasks.empty(), kInvalidArgument, "`preset` {}: expected one of {}", shortened(name),
            fmt::join(names, ", "));
  fail(ErrorCode::kInvalidArgument,
       "`preset` {} is of {}; set the steps of {} by hand: `sample_steps`, `sample_shift`, `sample_solver`, "
       "`sample_guide_scale`",
       name, fmt::join(tasks, " and "), task);
}

void apply(const Preset& preset, GenerationRequest& request) {
  const bool own_grid = request.sample_steps.value_or(preset.steps) != preset.steps || request.sample_shift;
  if (!request.sample_solver) request.sample_solver = std::string(preset.solver);
  if (!request.sample_guide_scale) request.sample_guide_scale = preset.guidance;
  if (!request.sample_shift) request.sample_shift = preset.shift;
  if (request.sample_timesteps) return;
  if (!request.sample_steps) request.sample_steps = preset.steps;
  const bool possible = *request.sample_steps >= 1 && *request.sample_steps <= Scheduler::kTrainTimesteps;
  if (!own_grid && !preset.timesteps.empty())
    request.sample_timesteps = preset.timesteps;
  else if (preset.grid == Grid::kFractions && possible && *request.sample_shift > 0)
    request.sample_timesteps = distilled_timesteps(*request.sample_steps, *request.sample_shift);
}

}  // namespace

GenerationRequest with_preset(GenerationRequest request) {
  if (request.preset) apply(find_preset(*request.preset, request.task), request);
  if (!request.sample_timesteps) return request;
  const auto count = static_cast<int>(request.sample_timesteps->size());
  WAN_CHECK(request.sample_steps.value_or(count) == count, kInvalidArgument,
            "`sample_steps` {}: `sample_timesteps` has {}; leave one of them out", *request.sample_steps,
            count);
  request.sample_steps = count;
  return request;
}

std::optional<double> preset_boundary(const GenerationRequest& request) {
  return request.preset ? find_preset(*request.preset, request.task).boundary : std::nullopt;
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
