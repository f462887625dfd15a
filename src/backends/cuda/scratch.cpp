#include "backends/cuda/scratch.h"

#include <algorithm>

namespace wan::cuda {

namespace {

/// What own kernels without tensor cores take in a tenth of a millisecond or so: beyond it, products are worth their launches.
constexpr std::int64_t kFewProducts = std::int64_t{1} << 28;

TensorView take_as(Workspace& workspace, const TensorView& view, DType dtype) {
  return view.empty() || view.dtype() == dtype ? view : workspace.take(dtype, view.shape());
}

bool is_even(const SpatialPadding& padding) {
  return padding.top == padding.bottom && padding.left == padding.right;
}

/// The next multiple of 16 bytes: what convolutions on tensor cores want of a pixel.
std::int64_t whole_channels(std::int64_t channels, DType dtype) {
  const auto pack = static_cast<std::int64_t>(16 / dtype_size(dtype));
  return (channels + pack - 1) / pack * pack;
}

ScoreBlock score_block(const AttentionArgs& args, std::int64_t scores) {
  constexpr std::int64_t kTile = 128;  // rows of a product's tile
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t rows = std::max<std::int64_t>(scores / args.k.dim(0), 1);
  if (rows >= queries) return {std::min(args.q.dim(1), rows / queries), queries};
  return {1, rows > kTile ? rows / kTile * kTile : rows};
}

}  // namespace

LinearScratch::LinearScratch(Workspace& workspace, const LinearArgs& args) {
  const DType input = args.weight.dtype();
  // Products of f32 are f32; those of bf16 are either.
  const DType result = input == DType::kF32 ? DType::kF32 : args.out.dtype();
  x = take_as(workspace, args.x, input);
  bias = take_as(workspace, args.bias, result);
  out = take_as(workspace, args.out, result);
}

Conv3dScratch::Conv3dScratch(Workspace& workspace, const Conv3dArgs& args) : product(args) {
  // bf16 where everything is; otherwise f32, whatever has to be converted for it.
  const bool all_bf16 = args.x.dtype() == DType::kBF16 && args.weight.dtype() == DType::kBF16 &&
                        args.out.dtype() == DType::kBF16;
  const DType type = all_bf16 ? DType::kBF16 : DType::kF32;
  x = product.x = take_as(workspace, args.x, type);
  weight = product.weight = take_as(workspace, args.weight, type);
  const std::int64_t inputs = whole_channels(args.x.dim(3), type);
  const std::int64_t outputs = whole_channels(args.out.dim(3), type);
  // cuDNN's engines take the same padding on both sides of a dimension.
  if (!is_even(args.padding)) {
    edges = args.padding;
    product.padding = {};
  }
  if (!is_even(args.padding) || inputs != args.x.dim(3))
    product.x = workspace.take(
        type, {x.dim(0), x.dim(1) + edges.top + edges.bottom, x.dim(2) + edges.left + edges.right, inputs});
  if (inputs != args.x.dim(3) || outputs != args.out.dim(3))
    product.weight = workspace.take(type, {outputs, weight.dim(1), weight.dim(2), weight.dim(3), inputs});
  whole = outputs == args.out.dim(3);
  apart = !whole || type != args.out.dtype() || (args.residual && args.residual.data() == args.out.data());
  if (apart) product.out = workspace.take(type, {args.out.dim(0), args.out.dim(1), args.out.dim(2), outputs});
  product.residual = {};
  result = whole ? product.out : workspace.take(type, args.out.shape());
  library = workspace.take(DType::kU8, {kConvolutionWorkspaceBytes});
}

ScoreScratch::ScoreScratch(Workspace& workspace, const AttentionArgs& args, std::int64_t most_scores)
    : block(score_block(args, most_scores)) {
  const Shape most{block.heads, block.queries, args.k.dim(0)};
  scores = workspace.take(DType::kF32, most);
  // Products of f32 are f32.
  out = args.v.dtype() == DType::kF32 ? take_as(workspace, args.out, DType::kF32) : args.out;
  weights = args.v.dtype() == DType::kF32 ? scores : workspace.take(args.v.dtype(), most);
}

bool looks_in_one_tile(const AttentionArgs& args) {
  constexpr std::int64_t kManyKeys =
      8192;  // of fewer, all greatest scores cost no more than another kernel's launch
  return !args.key_bias && args.k.dim(0) >= kManyKeys;
}

HopperScratch::HopperScratch(Workspace& workspace, const AttentionArgs& args) {
  if (!looks_in_one_tile(args)) return;
  const std::int64_t blocks = (args.q.dim(0) + kHopperQueries - 1) / kHopperQueries;
  overflows = workspace.take(DType::kI32, {args.q.dim(1), blocks});
}

AttentionArgs take_alike(Workspace& workspace, const AttentionArgs& args, DType dtype) {
  AttentionArgs alike = args;
  for (TensorView* const view : {&alike.q, &alike.k, &alike.v}) *view = take_as(workspace, *view, dtype);
  return alike;
}

DType alike_dtype(const AttentionArgs& args) {
  const bool alike = args.q.dtype() == args.k.dtype() && args.q.dtype() == args.v.dtype();
  return alike ? args.q.dtype() : DType::kF32;
}

bool is_bf16_attention(const AttentionArgs& args) {
  constexpr std::int64_t kHeadWidth = 128;
  constexpr std::int64_t kPiece = 8;                     // elements of 16 bytes
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // tokens, heads, elements of a stride
  if (args.bias || args.q.dim(2) != kHeadWidth || !(args.scale > 0.0f)) return false;
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) {
    if (view.dtype() != DType::kBF16 || reinterpret_cast<std::uintptr_t>(view.data()) % 16 != 0) return false;
    if (view.stride(0) % kPiece != 0 || view.stride(1) % kPiece != 0) return false;
    if (view.stride(0) <= 0 || view.stride(1) <= 0) return false;
    if (std::max({view.dim(0), view.dim(1), view.stride(0), view.stride(1)}) > kMost) return false;
  }
  return true;
}

bool is_small_attention(const AttentionArgs& args) {
  return args.q.dim(2) <= kWidestPlainHead && args.q.elements() * args.k.dim(0) <= kFewProducts;
}

void take_scratch(Workspace& workspace, const AttentionArgs& args, const AttentionWays& ways) {
  if (args.out.elements() == 0) return;
  if (is_bf16_attention(args) && (ways.hopper || !args.key_bias)) {
    if (ways.hopper) HopperScratch(workspace, args);
    return;
  }
  const AttentionArgs alike = take_alike(workspace, args, alike_dtype(args));
  if (!is_small_attention(args)) ScoreScratch(workspace, alike, ways.scores);
}

CausalScratch::CausalScratch(Workspace& workspace, const CausalAttentionArgs& args) {
  const std::int64_t blocks = args.q.dim(0) * args.k.dim(1);
  const std::int64_t chunks = (args.k.dim(0) + kCausalKeysOfPart - 1) / kCausalKeysOfPart;
  parts = std::clamp<std::int64_t>(kMostCausalParts / blocks, 1, chunks);
  if (parts > 1)
    partial = workspace.take(DType::kF32, {args.q.dim(0), args.q.dim(1), parts, args.q.dim(2) + 2});
}

void take_scratch(Workspace& workspace, const CausalAttentionArgs& args) {
  if (args.out.elements() > 0) CausalScratch(workspace, args);
}

void take_scratch(Workspace& workspace, const Conv3dArgs& args) {
  if (args.out.elements() > 0) Conv3dScratch(workspace, args);
}

void take_scratch(Workspace& workspace, const LinearArgs& args) {
  if (args.out.elements() > 0) LinearScratch(workspace, args);
}

void take_scratch(Workspace& workspace, const LinearGroupArgs& args) {
  args.for_each([&](const LinearArgs& product) {
    const Workspace::Scope scope(workspace);
    take_scratch(workspace, product);
  });
}

}  // namespace wan::cuda
