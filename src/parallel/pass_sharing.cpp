#include "parallel/pass_sharing.h"

namespace wan {

bool runs_pass(const RankLayout& layout, int rank, int pass, int passes) {
  return layout.groups == 1 || passes == 1 || pass == layout.group_of(rank);
}

void share_results(Communicator& all, const RankLayout& layout, std::span<const Tensor> results) {
  if (layout.groups == 1) return;
  for (int pass = 0; pass < static_cast<int>(results.size()); ++pass)
    all.broadcast(results[static_cast<std::size_t>(pass)], layout.first_of(pass));
}

}  // namespace wan
