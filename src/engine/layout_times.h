#pragma once
// How long layouts take, by what ranks compute and exchange in a second: which of them is faster where no rule says it.

#include <optional>
#include <span>

#include "engine/rank_connection.h"
#include "models/wan/config.h"
#include "ops/backend.h"

namespace wan {

/// One pass of a transformer over all tokens.
struct PassDemand {
  double flops = 0;
  double bytes = 0;  // that Ulysses exchanges, of all ranks together where each had all of it
};

/// Of a latent [z, F, h, w], with activations of that type.
PassDemand pass_demand(const WanConfig& config, const Shape& latent, DType activations);

struct RankRates {
  double flops_per_second = 0;       // of a matrix product on one rank's device
  double link_bytes_per_second = 0;  // that each rank receives while all send to all
};

/// Measures them in some milliseconds, in some ten to two hundred megabytes of each device, the more the ranks. Throws what exchanging throws.
RankRates measure_rates(std::span<Backend* const> ranks, DType weights, const EngineOptions& options);

struct StepTimes {
  double computing = 0;   // seconds, of a mean step
  double exchanging = 0;  // likewise, were none of it hidden
  double all() const { return computing + exchanging; }
  /// The part of a step that links take at most.
  double link_share() const { return all() > 0 ? exchanging / all() : 0; }
};

/// `guided_steps` of `steps` have two passes.
StepTimes step_times(const PassDemand& work, const RankRates& rates, const RankLayout& layout,
                     int guided_steps, int steps);

}  // namespace wan
