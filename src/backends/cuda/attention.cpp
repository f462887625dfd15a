#include "ops/attention.h"

#include <algorithm>

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/softmax.h"
#include "base/error.h"

namespace wan {

using namespace cuda;

namespace {

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
  const ScoreScratch scratch(workspace, args, gpu.options().attention_scores);
  const ScoreBlock block = scratch.block;
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
      const TensorView scores = part(scratch.scores);
      const TensorView weights = part(scratch.weights);
      const BatchedProduct score{.x = of_queries(args.q), .y = of_keys(args.k), .out = scores};
      if (!gpu.products().run(gpu.stream(), gpu.allocator(), score)) return false;
      const TensorView bias =
          args.bias ? args.bias.slice(0, head, head + some_heads).slice(1, query, query + some_queries)
                    : args.bias;
      const TensorView log_sums =
          args.log_sums
              ? args.log_sums.slice(0, head, head + some_heads).slice(1, query, query + some_queries)
              : args.log_sums;
      launch_softmax(gpu.stream(), {.scores = scores,
                                    .scale = args.scale,
                                    .bias = bias,
                                    .key_bias = args.key_bias,
                                    .weights = weights,
                                    .log_sums = log_sums});
      const BatchedProduct sum{
          .x = weights, .y = of_keys(args.v).permute({0, 2, 1}), .out = of_queries(scratch.out)};
      if (!gpu.products().run(gpu.stream(), gpu.allocator(), sum)) return false;
    }
  if (scratch.out.data() != args.out.data()) launch_copy(gpu.stream(), {scratch.out, args.out});
  return true;
}

}  // namespace

void run_kernel(CudaBackend& gpu, ExecContext&, const JoinAttentionArgs& args) {
  launch_join_attention(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const AttentionArgs& args) {
  const cudaStream_t stream = gpu.stream();
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  if (is_bf16_attention(args)) {
    if (gpu.uses_hopper_attention())
      return run_hopper_attention(stream, ctx.workspace, gpu.info().multiprocessors, args);
    if (!args.key_bias && gpu.attentions().run(stream, ctx.workspace, args)) return;
  }
  const auto all_as = [&](DType dtype) {
    AttentionArgs converted = take_alike(ctx.workspace, args, dtype);
    gpu.convert(args.q, converted.q);
    gpu.convert(args.k, converted.k);
    gpu.convert(args.v, converted.v);
    return converted;
  };
  const AttentionArgs plain = all_as(alike_dtype(args));
  if (is_small_attention(args)) return launch_plain_attention(stream, plain);
  if (attention_by_products(gpu, ctx.workspace, plain)) return;
  // Rows of bf16 at odd addresses, which have no algorithm.
  if (plain.q.dtype() != DType::kF32 && attention_by_products(gpu, ctx.workspace, all_as(DType::kF32)))
    return;
  WAN_CHECK(args.q.dim(2) <= kWidestPlainHead, kUnsupported,
            "[attention] cuBLASLt has no algorithm for heads of {}", args.q.dim(2));
  launch_plain_attention(stream, plain);
}

}  // namespace wan
