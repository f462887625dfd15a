#include "nn/sequence_parallel.h"

#include <cmath>

#include "ops/attention.h"

namespace wan {

namespace {

/// One view a rank: rows of `rows` [tokens, ...] that the rank holds.
std::vector<TensorView> rows_by_rank(const TokenLayout& layout, const TensorView& rows) {
  std::vector<TensorView> views;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const Range share = layout.share(rank);
    views.push_back(rows.slice(0, share.begin, share.end));
  }
  return views;
}

/// One view a rank: the heads of `local` [tokens, heads, D] that the rank attends with.
std::vector<TensorView> heads_by_rank(const TokenLayout& layout, const TensorView& local) {
  std::vector<TensorView> views;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const Range share = even_share(local.dim(1), layout.ranks(), rank);
    views.push_back(local.slice(1, share.begin, share.end));
  }
  return views;
}

/// [local, H, D] -> [tokens, this rank's heads, D]: each rank sends every other one that one's heads.
TensorView scatter_heads(ExecContext& ctx, const TokenLayout& layout, const TensorView& local) {
  const Range mine = even_share(local.dim(1), layout.ranks(), layout.rank());
  const TensorView all = ctx.workspace.take(local.dtype(), {layout.tokens(), mine.size(), local.dim(2)});
  ctx.communicator.all_to_all(heads_by_rank(layout, local), rows_by_rank(layout, all));
  return all;
}

/// The way back: [tokens, this rank's heads, D] -> [local, H, D].
void gather_heads(ExecContext& ctx, const TokenLayout& layout, const TensorView& all,
                  const TensorView& local) {
  ctx.communicator.all_to_all(rows_by_rank(layout, all), heads_by_rank(layout, local));
}

}  // namespace

void sequence_parallel_attention(ExecContext& ctx, const TokenLayout& layout, const TensorView& q,
                                 const TensorView& k, const TensorView& v, const TensorView& out) {
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(q.dim(2))));
  if (layout.ranks() == 1) {
    attention(ctx, {.q = q, .k = k, .v = v, .scale = scale, .bias = {}, .key_bias = {}, .out = out});
    return;
  }
  WAN_CHECK(q.dim(1) >= layout.ranks(), kInvalidArgument,
            "the model's {} attention heads cannot be divided over {} ranks; use at most {}", q.dim(1),
            layout.ranks(), q.dim(1));
  const Workspace::Scope scope(ctx.workspace);
  const TensorView all_q = scatter_heads(ctx, layout, q);
  const TensorView all_k = scatter_heads(ctx, layout, k);
  const TensorView all_v = scatter_heads(ctx, layout, v);
  const TensorView all_out = ctx.workspace.take(out.dtype(), all_q.shape());
  attention(ctx,
            {.q = all_q, .k = all_k, .v = all_v, .scale = scale, .bias = {}, .key_bias = {}, .out = all_out});
  gather_heads(ctx, layout, all_out, out);
}

void gather_tokens(ExecContext& ctx, const TokenLayout& layout, const TensorView& local,
                   const TensorView& all) {
  ctx.communicator.all_gather(local, rows_by_rank(layout, all));
}

}  // namespace wan
