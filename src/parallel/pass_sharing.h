#pragma once
// How groups of ranks share the passes of a step, as guidance has two: which of them a rank runs, and how all get the others' results.

#include <span>

#include "parallel/communicator.h"
#include "parallel/rank_layout.h"

namespace wan {

/// Whether `rank` runs `pass` of a step's: of two groups each runs the pass of its number; where there is but one pass, both run it.
bool runs_pass(const RankLayout& layout, int rank, int pass, int passes);

/// Every rank's `results`, one a pass of the step, become those of the group that ran the pass. `all` are the ranks of all groups.
void share_results(Communicator& all, const RankLayout& layout, std::span<const Tensor> results);

}  // namespace wan
