#pragma once
// What ops take from the workspace, apart from the kernels that use it: memory plans ask for it too, also in builds without CUDA.

#include "ops/attention.h"
#include "ops/causal_attention.h"
#include "ops/conv3d.h"
#include "ops/linear_group.h"
#include "ops/workspace.h"

namespace wan::cuda {

/// cuBLASLt's own, for as long as the backend lives.
constexpr std::size_t kProductWorkspaceBytes = std::size_t{64} << 20;

/// What a plan of cuDNN for a convolution may take. It is asked for whichever plan is chosen, so that memory plans know it; where no
/// plan makes do with it, more is taken that they do not know.
constexpr std::int64_t kConvolutionWorkspaceBytes = std::int64_t{128} << 20;

/// What of attention's memory depends on the device and its options.
struct AttentionWays {
  bool hopper;          // the Hopper kernels, which take a key bias too
  std::int64_t scores;  // CudaBackendOptions::attention_scores
};

/// Each view is the arguments' own, or memory to convert it to.
struct LinearScratch {
  LinearScratch(Workspace& workspace, const LinearArgs& args);
  TensorView x, bias, out;
};

struct Conv3dScratch {
  Conv3dScratch(Workspace& workspace, const Conv3dArgs& args);
  TensorView x, weight;  // in the product's type
  /// What the library computes: x and weight with zero channels up to a multiple of 16 bytes, x with zero rows and columns where its
  /// padding is uneven; out apart from the arguments' own where that is the residual's too, or of another type or width.
  Conv3dArgs product;
  SpatialPadding edges;  // in product.x already
  bool whole;            // product.out has no more channels than the arguments' out
  bool apart;
  TensorView result;   // product.out without channels that are too many
  TensorView library;  // kConvolutionWorkspaceBytes for cuDNN
};

/// Queries of some heads: all queries of as many heads as there is room for, or as many queries as that of one head.
struct ScoreBlock {
  std::int64_t heads, queries;
};

/// Scratch of attention by two products.
struct ScoreScratch {
  ScoreScratch(Workspace& workspace, const AttentionArgs& args, std::int64_t scores);
  ScoreBlock block;
  TensorView scores, out, weights;  // out: the arguments' own, or memory for it in f32
};

inline constexpr int kHopperQueries = 256;  // of two neighbouring blocks

/// Whether the Hopper attention looks for the greatest score in one tile of the keys alone, and notes which queries have to be
/// answered again (kernels/hopper_attention_kernel.h).
bool looks_in_one_tile(const AttentionArgs& args);

struct HopperScratch {
  HopperScratch(Workspace& workspace, const AttentionArgs& args);
  TensorView overflows;  // looks_in_one_tile(): the notes, [heads, ceil(queries / kHopperQueries)] i32
};

inline constexpr std::int64_t kWidestPlainHead = 384;

inline constexpr int kCausalThreads = 128;    // of a block, which is also how many keys it takes at once,
inline constexpr int kCausalKeysOfPart = 32;  // or these, where the keys are divided
inline constexpr int kWidestCausalHead = 256;
inline constexpr int kMostCausalParts = 256;  // blocks: two for each multiprocessor of the largest GPUs

/// Of causal attention whose keys are divided, so that few queries fill a GPU too.
struct CausalScratch {
  CausalScratch(Workspace& workspace, const CausalAttentionArgs& args);
  std::int64_t parts;  // of the keys
  TensorView partial;  // [queries, heads, parts, width + 2] f32 where there are several
};

/// q, k and v in one type: `args` with memory to convert them to where they are not. f32 holds bf16.
AttentionArgs take_alike(Workspace& workspace, const AttentionArgs& args, DType dtype);
DType alike_dtype(const AttentionArgs& args);

/// What kernels on tensor cores take: bf16, no bias, head width 128, strides of whole 16-byte pieces, a scale above 0. key_bias is
/// another question.
bool is_bf16_attention(const AttentionArgs& args);
/// Whether a small problem, whose heads are not too wide, is done by a kernel that needs no scratch.
bool is_small_attention(const AttentionArgs& args);

/// All that an op takes. What cuDNN's plans for attention take beside it is known to them alone: Backend::reserved_bytes() leaves room
/// for it.
void take_scratch(Workspace& workspace, const AttentionArgs& args, const AttentionWays& ways);
void take_scratch(Workspace& workspace, const CausalAttentionArgs& args);
void take_scratch(Workspace& workspace, const Conv3dArgs& args);
void take_scratch(Workspace& workspace, const LinearArgs& args);
void take_scratch(Workspace& workspace, const LinearGroupArgs& args);

}  // namespace wan::cuda
