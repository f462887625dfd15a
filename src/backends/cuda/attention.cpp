#include "ops/attention.h"

#include <algorithm>

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/softmax.h"
#include "base/error.h"

namespace wan {

using namespace cuda;

namespace cuda {

bool is_bf16_attention(const AttentionArgs& args) {
  constexpr std::int64_t kHeadWidth = 128;
  constexpr std::int64_t kPiece = 8;  // elements of 16 bytes
  if (args.bias || args.q.dim(2) != kHeadWidth) return false;
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) {
    if (view.dtype() != DType::kBF16 || reinterpret_cast<std::uintptr_t>(view.data()) % 16 != 0) return false;
    if (view.stride(0) % kPiece != 0 || view.stride(1) % kPiece != 0) return false;
    if (view.stride(0) <= 0 || view.stride(1) <= 0) return false;
  }
  return true;
}

}  // namespace cuda

namespace {

/// What own kernels without tensor cores take in a tenth of a millisecond or so: beyond it, products are worth their launches.
constexpr std::int64_t kFewProducts = std::int64_t{1} << 28;

/// Queries of some heads: all queries of as many heads as `scores` have room for, or as many queries as that of one head.
struct ScoreBlock {
  std::int64_t heads, queries;
};

ScoreBlock score_block(const AttentionArgs& args, std::int64_t scores) {
  constexpr std::int64_t kTile = 128;  // rows of a product's tile
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t rows = std::max<std::int64_t>(scores / args.k.dim(0), 1);
  if (rows >= queries) return {std::min(args.q.dim(1), rows / queries), queries};
  return {1, rows > kTile ? rows / kTile * kTile : rows};
}

/// [tokens, heads, width] -> [heads, tokens, width], some of both.
TensorView head_block(const TensorView& view, std::int64_t head, std::int64_t heads, std::int64_t token,
                      std::int64_t tokens) {
  return view.slice(0, token, token + tokens).slice(1, head, head + heads).permute({1, 0, 2});
}

/// Scores by a product, their softmax, and a product with the values, some rows at a time. q, k and v of one dtype. False
/// where the library has no algorithm for one of the products; some of `out` may be written then.
bool attention_by_products(CudaBackend& gpu, Workspace& workspace, const AttentionArgs& args) {
  const Workspace::Scope scope(workspace);
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t heads = args.q.dim(1);
  const std::int64_t keys = args.k.dim(0);
  const ScoreBlock block = score_block(args, gpu.options().attention_scores);
  const Shape most{block.heads, block.queries, keys};
  const TensorView score_memory = workspace.take(DType::kF32, most);
  // Products of f32 are f32.
  const bool apart = args.v.dtype() == DType::kF32 && args.out.dtype() != DType::kF32;
  const TensorView out = apart ? workspace.take(DType::kF32, args.out.shape()) : args.out;
  const TensorView weight_memory =
      args.v.dtype() == DType::kF32 ? score_memory : workspace.take(args.v.dtype(), most);
  for (std::int64_t head = 0; head < heads; head += block.heads)
    for (std::int64_t query = 0; query < queries; query += block.queries) {
      const std::int64_t some_heads = std::min(block.heads, heads - head);
      const std::int64_t some_queries = std::min(block.queries, queries - query);
      // Contiguous: a block is fewer heads, or fewer queries of its one head.
      const auto part = [&](const TensorView& memory) {
        return memory.slice(0, 0, some_heads).slice(1, 0, some_queries);
      };
      const auto of_queries = [&](const TensorView& view) {
        return head_block(view, head, some_heads, query, some_queries);
      };
      const auto of_keys = [&](const TensorView& view) {
        return head_block(view, head, some_heads, 0, keys);
      };
      const TensorView scores = part(score_memory);
      const TensorView weights = part(weight_memory);
      const BatchedProduct score{.x = of_queries(args.q), .y = of_keys(args.k), .out = scores};
      if (!gpu.products().run(gpu.stream(), gpu.allocator(), score)) return false;
      const TensorView bias =
          args.bias ? args.bias.slice(0, head, head + some_heads).slice(1, query, query + some_queries)
                    : args.bias;
      launch_softmax(gpu.stream(), {.scores = scores,
                                    .scale = args.scale,
                                    .bias = bias,
                                    .key_bias = args.key_bias,
                                    .weights = weights});
      const BatchedProduct sum{.x = weights, .y = of_keys(args.v).permute({0, 2, 1}), .out = of_queries(out)};
      if (!gpu.products().run(gpu.stream(), gpu.allocator(), sum)) return false;
    }
  if (apart) launch_copy(gpu.stream(), {out, args.out});
  return true;
}

}  // namespace

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const AttentionArgs& args) {
  const cudaStream_t stream = gpu.stream();
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  if (is_bf16_attention(args)) {
    const bool hopper =
        gpu.options().hopper_attention && gpu.info().compute_major == 9 && has_hopper_attention();
    if (hopper && args.key_bias)
      return run_hopper_key_bias_attention(stream, ctx.workspace, gpu.info().multiprocessors, args);
    if (hopper) return run_hopper_attention(stream, ctx.workspace, gpu.info().multiprocessors, args);
    if (!args.key_bias && gpu.attentions().run(stream, ctx.workspace, args)) return;
  }
  const auto all_as = [&](DType dtype) {
    AttentionArgs converted = args;
    converted.q = gpu.as_type(ctx.workspace, args.q, dtype);
    converted.k = gpu.as_type(ctx.workspace, args.k, dtype);
    converted.v = gpu.as_type(ctx.workspace, args.v, dtype);
    return converted;
  };
  // One dtype for the three: f32 holds bf16.
  const bool alike = args.q.dtype() == args.k.dtype() && args.q.dtype() == args.v.dtype();
  const AttentionArgs plain = all_as(alike ? args.q.dtype() : DType::kF32);
  const bool narrow = args.q.dim(2) <= kWidestPlainHead;
  if (narrow && args.q.elements() * args.k.dim(0) <= kFewProducts)
    return launch_plain_attention(stream, plain);
  if (attention_by_products(gpu, ctx.workspace, plain)) return;
  // Rows of bf16 at odd addresses, which have no algorithm.
  if (plain.q.dtype() != DType::kF32 && attention_by_products(gpu, ctx.workspace, all_as(DType::kF32)))
    return;
  WAN_CHECK(narrow, kUnsupported, "[attention] cuBLASLt has no algorithm for heads of {}", args.q.dim(2));
  launch_plain_attention(stream, plain);
}

}  // namespace wan
