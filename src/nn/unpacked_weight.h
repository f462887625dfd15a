#pragma once
// A packed weight's values in scratch memory, with what is added to them.

#include "ops/exec_context.h"
#include "weights/leased_weights.h"

namespace wan {

/// weight [out, in], packed -> [out, in] in ctx.unpacked, of ctx.workspace, inside the caller's scope. An addition is multiplied and added in f32, and
/// the sum rounded once: where it is a LoRA's, as one that was merged before the weight was rounded.
TensorView take_unpacked(ExecContext& ctx, const TensorView& weight, const LowRankViews& addition);

}  // namespace wan
