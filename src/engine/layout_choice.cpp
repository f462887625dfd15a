#include "engine/layout_choice.h"

#include <algorithm>

#include "base/error.h"

namespace wan {

namespace {

constexpr int kPasses = 2;  // of guidance

enum class Choice { kAuto, kOn, kOff };

Choice guidance_choice(const EngineOptions& options) {
  const std::string& text = options.guidance_parallel;
  if (text == "auto") return Choice::kAuto;
  if (text == "on") return Choice::kOn;
  if (text == "off") return Choice::kOff;
  fail(ErrorCode::kInvalidArgument, "`guidance_parallel` {}: expected on, off or auto", text);
}

}  // namespace

void check_gpus(const EngineOptions& options) {
  const std::vector<int>& gpus = options.gpus;
  WAN_CHECK(gpus.empty() || options.device == "auto" || options.device == "cuda", kInvalidArgument,
            "`device` {} contradicts `gpus`; leave one of the two out", options.device);
  for (auto gpu = gpus.begin(); gpu != gpus.end(); ++gpu)
    WAN_CHECK(*gpu >= 0 && std::find(gpus.begin(), gpu, *gpu) == gpu, kInvalidArgument,
              "`gpus`: {} {}; expected different numbers from 0 on", *gpu,
              *gpu < 0 ? "is below 0" : "is there twice");
}

int rank_count(const EngineOptions& options) {
  check_gpus(options);
  const Choice guidance = guidance_choice(options);
  const int size = options.ulysses_size;
  WAN_CHECK(size >= 0, kInvalidArgument, "`ulysses_size` {}: expected 1 or more", size);
  const auto gpus = static_cast<int>(options.gpus.size());
  if (gpus == 0) return std::max(size, 1) * (guidance == Choice::kOn ? kPasses : 1);
  WAN_CHECK(guidance != Choice::kOn || gpus % kPasses == 0, kInvalidArgument,
            "`guidance_parallel` on needs an even number of GPUs, a half for each pass; `gpus` names {}",
            gpus);
  if (size == 0) return gpus;
  const bool as_one = size == gpus && guidance != Choice::kOn;
  const bool as_halves = size * kPasses == gpus && guidance != Choice::kOff;
  WAN_CHECK(
      as_one || as_halves, kInvalidArgument,
      "`ulysses_size` {}: `gpus` names {}; leave one of the two out, or ask for as many ranks as GPUs{}",
      size, gpus, gpus % kPasses == 0 ? ", or for half as many with `guidance_parallel` on" : "");
  return gpus;
}

bool depends_on_times(const EngineOptions& options, int ranks, int guided_steps, int steps) {
  return guidance_choice(options) == Choice::kAuto && options.ulysses_size == 0 && ranks > 1 &&
         ranks % kPasses == 0 && guided_steps > 0 && guided_steps < steps;
}

std::vector<RankLayout> possible_layouts(const EngineOptions& options, int ranks, std::int64_t heads,
                                         int guided_steps, int steps,
                                         const std::function<double(const RankLayout&)>& seconds) {
  const Choice guidance = guidance_choice(options);
  const RankLayout one{.sequence = ranks, .groups = 1};
  const RankLayout halves{.sequence = ranks / kPasses, .groups = kPasses};
  const bool told_halves =
      guidance == Choice::kOn || (options.ulysses_size > 0 && options.ulysses_size < ranks);
  WAN_CHECK(
      !told_halves || guided_steps > 0, kInvalidArgument,
      "`guidance_parallel`: halves of the {} ranks would run guidance's two passes, and no step has two "
      "at `sample_guide_scale` 1; set it off{}",
      ranks, options.ulysses_size > 0 ? " and leave `ulysses_size` out" : "");
  std::vector<RankLayout> layouts;
  if (told_halves) {
    layouts = {halves};
  } else {
    const bool every_step = guided_steps == steps;
    const bool free = guidance == Choice::kAuto && options.ulysses_size == 0;
    if (free && every_step && ranks % kPasses == 0) layouts.push_back(halves);
    layouts.push_back(one);
    if (seconds && depends_on_times(options, ranks, guided_steps, steps) && seconds(halves) < seconds(one))
      layouts.insert(layouts.begin(), halves);
  }
  const int smallest = layouts.front().sequence;
  std::erase_if(layouts, [&](const RankLayout& layout) { return layout.sequence > heads; });
  WAN_CHECK(!layouts.empty(), kInvalidArgument,
            "{} asks for {} ranks that divide a pass, and the model's {} attention heads are divided over at "
            "most {}",
            MessagePart{options.gpus.empty() ? "`ulysses_size`" : "`gpus`"}, smallest, heads, heads);
  return layouts;
}

std::vector<std::vector<int>> machine_ranks(const RankLayout& layout, int group,
                                            std::span<const int> machine_of) {
  std::vector<std::vector<int>> ranks;
  std::vector<int> machines;  // in the order of their first ranks
  const std::size_t first = static_cast<std::size_t>(layout.first_of(group));
  for (int member = 0; member < layout.sequence; ++member) {
    const int machine = machine_of[first + static_cast<std::size_t>(member)];
    const auto found = std::ranges::find(machines, machine);
    const auto place = static_cast<std::size_t>(found - machines.begin());
    if (found == machines.end()) {
      machines.push_back(machine);
      ranks.emplace_back();
    }
    ranks[place].push_back(member);
  }
  const bool alike = std::ranges::all_of(
      ranks, [&](const std::vector<int>& members) { return members.size() == ranks.front().size(); });
  if (ranks.size() == 1 || !alike) ranks.clear();
  return ranks;
}

RankLayout on_machines(RankLayout layout, std::span<const int> machine_of) {
  const std::size_t machines = machine_ranks(layout, 0, machine_of).size();
  layout.machines = std::max(static_cast<int>(machines), 1);
  for (int group = 1; group < layout.groups; ++group)
    if (machine_ranks(layout, group, machine_of).size() != machines) layout.machines = 1;
  return layout;
}

namespace {

std::string reason_for_groups(const EngineOptions& options, const RankLayout& chosen, int guided_steps,
                              int steps) {
  const int ranks = chosen.ranks();
  if (guidance_choice(options) != Choice::kAuto || options.ulysses_size > 0) return "asked for";
  if (chosen.groups > 1)
    return guided_steps == steps ? "every step has two passes" : "faster by the links as measured";
  if (ranks % kPasses != 0) return "an odd number has no halves";
  if (guided_steps < steps)
    return guided_steps == 0 ? "no step has two passes" : "not every step has two passes";
  return "in halves the video would not fit as a whole";
}

}  // namespace

std::string layout_reason(const EngineOptions& options, const RankLayout& chosen, int guided_steps,
                          int steps) {
  if (chosen.ranks() == 1) return "";
  std::string reason = reason_for_groups(options, chosen, guided_steps, steps);
  if (chosen.machines > 1) reason += fmt::format("; keys and values go round {} machines", chosen.machines);
  return reason;
}

}  // namespace wan
