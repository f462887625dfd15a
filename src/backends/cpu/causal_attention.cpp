#include "ops/causal_attention.h"

#include <algorithm>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

/// Fewer leave most lanes of the kernel for tiles of queries empty.
constexpr std::int64_t kFewQueries = 8;

/// How the work is cut, and what that takes.
struct CausalPieces {
  bool few;             // queries: each head of each is a piece
  std::int64_t pieces;  // in all
  int threads;
  std::int64_t scratch;  // floats of a thread
};

CausalPieces causal_pieces(const CpuKernels& kernels, int threads, const CausalAttentionArgs& args) {
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t heads = args.q.dim(1);
  const std::int64_t keys = args.k.dim(0);
  const std::int64_t width = args.q.dim(2);
  const bool few = queries < kFewQueries;
  const std::int64_t tile = kernels.query_tile;
  const std::int64_t pieces = heads * (few ? queries : (queries + tile - 1) / tile);
  const int useful = useful_threads(threads, queries * heads * keys * width / 64);
  return {.few = few,
          .pieces = pieces,
          .threads = static_cast<int>(std::min<std::int64_t>(useful, pieces)),
          .scratch = few ? (keys + 15) / 16 * 16 : kernels.attention_scratch(width, tile)};
}

/// `args` with all in f32, in memory of the workspace where it is not; and the threads' scratch.
struct CausalScratch {
  CausalScratch(Workspace& workspace, const CausalAttentionArgs& given, const CausalPieces& pieces)
      : args(given) {
    for (TensorView* const view : {&args.q, &args.k, &args.v, &args.out}) *view = take_f32(workspace, *view);
    threads = workspace.take(DType::kF32, {pieces.threads, pieces.scratch});
  }
  CausalAttentionArgs args;
  TensorView threads;
};

const float* row_of(const TensorView& view, std::int64_t token, std::int64_t head) {
  return view.as<float>() + token * view.stride(0) + head * view.stride(1);
}

/// One query and head over the keys that it sees. scores: [keys].
void attend_one(const CpuKernels& kernels, const CausalAttentionArgs& args, std::int64_t query,
                std::int64_t head, float* scores) {
  const std::int64_t width = args.q.dim(2);
  const std::int64_t keys = args.k.dim(0) - args.q.dim(0) + query + 1;
  const std::int64_t shared = head / (args.q.dim(1) / args.k.dim(1));
  const float* q = row_of(args.q, query, head);
  if (args.k.stride(0) == width) {
    kernels.dot_rows(q, row_of(args.k, 0, shared), scores, keys, width);
  } else {
    for (std::int64_t j = 0; j < keys; ++j)
      kernels.dot_rows(q, row_of(args.k, j, shared), scores + j, 1, width);
  }
  const float highest = *std::max_element(scores, scores + keys);
  for (std::int64_t j = 0; j < keys; ++j) scores[j] = (scores[j] - highest) * args.scale;
  kernels.exponential(scores, scores, keys);
  double total = 0;
  for (std::int64_t j = 0; j < keys; ++j) total += static_cast<double>(scores[j]);
  const auto factor = static_cast<float>(1.0 / total);
  for (std::int64_t j = 0; j < keys; ++j) scores[j] *= factor;

  constexpr int kMost = 8;  // terms of kernels.combine
  float* out = const_cast<float*>(row_of(args.out, query, head));
  for (std::int64_t j = 0; j < keys;) {
    const float* terms[kMost];
    float weights[kMost];
    int count = 0;
    if (j > 0) {
      terms[count] = out;
      weights[count++] = 1.0f;
    }
    for (; count < kMost && j < keys; ++count, ++j) {
      terms[count] = row_of(args.v, j, shared);
      weights[count] = scores[j];
    }
    kernels.combine(terms, weights, count, out, width);
  }
}

/// A tile of one head's queries over the keys that any of them sees.
void attend_tile(const CpuKernels& kernels, const CausalAttentionArgs& args, std::int64_t first,
                 std::int64_t head, float* scratch) {
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t shared = head / (args.q.dim(1) / args.k.dim(1));
  AttentionTile t{};
  t.q = row_of(args.q, first, head);
  t.k = row_of(args.k, 0, shared);
  t.v = row_of(args.v, 0, shared);
  t.out = const_cast<float*>(row_of(args.out, first, head));
  t.scratch = scratch;
  t.q_stride = args.q.stride(0);
  t.k_stride = args.k.stride(0);
  t.v_stride = args.v.stride(0);
  t.out_stride = args.out.stride(0);
  t.rows = std::min<std::int64_t>(kernels.query_tile, queries - first);
  t.visible = args.k.dim(0) - queries + first + 1;
  t.keys = t.visible + t.rows - 1;
  t.width = args.q.dim(2);
  t.scale = args.scale;
  kernels.attention(t);
}

}  // namespace

bool has_kernel(const CpuBackend&, const CausalAttentionArgs& args) {
  return args.q.dim(2) > 0;
}

void CpuBackend::take_scratch_op(Workspace& workspace, const CausalAttentionArgs& args) {
  if (args.out.elements() > 0) CausalScratch(workspace, args, causal_pieces(kernels_, threads_, args));
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const CausalAttentionArgs& args) {
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  const CausalPieces pieces = causal_pieces(cpu.kernels(), cpu.threads(), args);
  const CausalScratch taken(ctx.workspace, args, pieces);
  const auto convert = [&](const TensorView& from, const TensorView& to) {
    if (from.data() != to.data()) copy_to_f32(cpu.kernels(), cpu.threads(), from, to);
  };
  convert(args.q, taken.args.q);
  convert(args.k, taken.args.k);
  convert(args.v, taken.args.v);
  const std::int64_t heads = args.q.dim(1);
  // Piece by piece in turns: later queries see more keys.
  parallel_for(pieces.threads, pieces.threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread) {
      float* scratch = taken.threads.as<float>() + thread * pieces.scratch;
      for (std::int64_t piece = thread; piece < pieces.pieces; piece += pieces.threads) {
        const std::int64_t place = piece / heads;
        if (pieces.few)
          attend_one(cpu.kernels(), taken.args, place, piece % heads, scratch);
        else
          attend_tile(cpu.kernels(), taken.args, place * cpu.kernels().query_tile, piece % heads, scratch);
      }
    }
  });
  if (taken.args.out.data() == args.out.data()) return;
  const std::int64_t width = args.q.dim(2);
  for_each_row(cpu.threads(), args.q.dim(0) * heads, width, [&](std::int64_t row) {
    const std::int64_t i = row / heads;
    const std::int64_t h = row % heads;
    cpu.kernels().f32_to_bf16(taken.args.out.as<float>() + row * width,
                              bf16_bits(args.out) + i * args.out.stride(0) + h * args.out.stride(1), width);
  });
}

}  // namespace wan
