#pragma once
// How many ranks an engine has, and in which layouts they can make a video.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parallel/rank_layout.h"
#include "wan/engine.h"

namespace wan {

/// Throws InvalidArgument for options.gpus that cannot be.
void check_gpus(const EngineOptions& options);

/// As many as options.gpus has, or as ulysses_size and guidance_parallel ask for. Throws InvalidArgument, with what can be, where they
/// contradict one another.
int rank_count(const EngineOptions& options);

/// That the options leave for `ranks` of them, the best first: guidance's two passes at the same time wherever every step has both, for
/// then groups exchange a prediction a step and not all of attention's input. `guided_steps` of `steps` have two passes; where only some of
/// them have, the faster layout by `seconds`, which gives a mean step's (empty: not known, then one group). Throws InvalidArgument, with
/// what can be, where no layout is left.
std::vector<RankLayout> possible_layouts(const EngineOptions& options, int ranks, std::int64_t heads,
                                         int guided_steps, int steps,
                                         const std::function<double(const RankLayout&)>& seconds = {});
/// Whether it would ask for `seconds`.
bool depends_on_times(const EngineOptions& options, int ranks, int guided_steps, int steps);

/// The ranks of a group on each of its machines, by their numbers in the group: `machine_of` says each rank's, among all ranks. Empty where
/// they are on one machine, or not as many on each.
std::vector<std::vector<int>> machine_ranks(const RankLayout& layout, int group,
                                            std::span<const int> machine_of);

/// `layout` with as many machines as each of its groups is on; with one where the groups differ.
RankLayout on_machines(RankLayout layout, std::span<const int> machine_of);

/// plan(layout) of the first of `layouts` for which is_whole() holds, otherwise of the last. What does not fit in an earlier one
/// (OutOfMemory) is tried in the next.
template <typename Plan, typename IsWhole>
auto plan_in_first(const std::vector<RankLayout>& layouts, const Plan& plan, const IsWhole& is_whole) {
  for (const RankLayout& layout : std::span(layouts).first(layouts.size() - 1)) {
    try {
      auto planned = plan(layout);
      if (is_whole(planned)) return planned;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kOutOfMemory) throw;
    }
  }
  return plan(layouts.back());
}

/// Why `chosen` of possible_layouts(), in a few words, and what its machines do; empty for one rank.
std::string layout_reason(const EngineOptions& options, const RankLayout& chosen, int guided_steps,
                          int steps);

}  // namespace wan
