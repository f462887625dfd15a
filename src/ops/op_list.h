#pragma once
// Every op, once. Ops (ops/ops.h), the backends' kernels and whatever wraps a backend are made from this list.
//
// An op's arguments are a struct of its header, an aggregate, which says what is generic about the op:
//   static void visit_views(auto& args, auto&& visit)   visit(view) for every view, those that are missing too
//   TensorView result() const                           what FiniteCheck looks at, where that is not `out`
//   std::int64_t flops() const                          floating-point operations, where they are counted

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/causal_attention.h"
#include "ops/channel_norm.h"
#include "ops/channel_resample.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/depthwise_conv.h"
#include "ops/embedding.h"
#include "ops/fill_zero.h"
#include "ops/finite.h"
#include "ops/gated_activation.h"
#include "ops/gated_residual.h"
#include "ops/join_attention.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/linear_combination.h"
#include "ops/max_pool_2x2.h"
#include "ops/patchify.h"
#include "ops/pointwise.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_rope.h"
#include "ops/rotate_halves.h"
#include "ops/row_reduction.h"
#include "ops/unpack.h"
#include "ops/upsample.h"

namespace wan {

template <typename... Types>
struct TypeList {};

using AllOps =
    TypeList<ActivationArgs, AttentionArgs, AverageDownArgs, CausalAttentionArgs, ChannelNormArgs, Conv3dArgs,
             CopyArgs, CountNonFiniteArgs, DepthwiseConvArgs, DuplicateUpArgs, EmbeddingArgs, FillZeroArgs,
             GatedActivationArgs, GatedResidualArgs, JoinAttentionArgs, LayerNormArgs, LinearArgs,
             LinearCombinationArgs, MaxPool2x2Args, PatchifyArgs, PointwiseArgs, RmsNormArgs, RmsNormRopeArgs,
             RotateHalvesArgs, RowReductionArgs, RowSoftmaxArgs, UnpackArgs, UnpatchifyArgs, UpsampleArgs>;

}  // namespace wan
