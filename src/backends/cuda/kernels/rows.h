#pragma once
// Launchers of the norms over rows. Arguments are validated by the op.

#include "backends/cuda/check.h"
#include "ops/channel_norm.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_rope.h"

namespace wan::cuda {

void launch_layer_norm(cudaStream_t stream, const LayerNormArgs& args);
void launch_rms_norm(cudaStream_t stream, const RmsNormArgs& args);
void launch_rms_norm_rope(cudaStream_t stream, const RmsNormRopeArgs& args);
void launch_channel_norm(cudaStream_t stream, const ChannelNormArgs& args);

}  // namespace wan::cuda
