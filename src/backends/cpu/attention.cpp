#include "ops/attention.h"

#include <algorithm>
#include <atomic>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

/// Query tiles that go through the keys together. Keys and values that do not fit the second-level cache are worth
/// reading for several tiles at once, as long as every thread gets enough pieces.
std::int64_t tiles_a_piece(const CpuKernels& kernels, int threads, const AttentionArgs& args) {
  constexpr std::int64_t kCache = std::int64_t{1} << 19;
  constexpr std::int64_t kMost = 4;
  const std::int64_t bytes = 2 * args.k.dim(0) * args.q.dim(2) * static_cast<std::int64_t>(sizeof(float));
  if (bytes <= kCache) return 1;
  const std::int64_t tiles = args.q.dim(1) * ((args.q.dim(0) + kernels.query_tile - 1) / kernels.query_tile);
  return std::clamp<std::int64_t>(tiles / (4 * threads), 1, kMost);
}

/// How the queries are cut, and what that takes.
struct AttentionPieces {
  std::int64_t tile;   // queries of one head that are one piece of work
  std::int64_t tiles;  // of each head
  int threads;
  std::int64_t scratch;  // floats of a thread
};

AttentionPieces pieces_of(const CpuKernels& kernels, int threads, const AttentionArgs& args) {
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t heads = args.q.dim(1);
  const std::int64_t width = args.q.dim(2);
  const std::int64_t tile = kernels.query_tile * tiles_a_piece(kernels, threads, args);
  const std::int64_t tiles = (queries + tile - 1) / tile;
  const int useful = useful_threads(threads, queries * heads * args.k.dim(0) * width / 64);
  return {.tile = tile,
          .tiles = tiles,
          .threads = static_cast<int>(std::min<std::int64_t>(useful, heads * tiles)),
          .scratch = kernels.attention_scratch(width, tile)};
}

/// `args` with all in f32, in memory of the workspace where it is not; and the threads' scratch.
struct AttentionScratch {
  AttentionScratch(Workspace& workspace, const AttentionArgs& given, const AttentionPieces& pieces)
      : args(given) {
    for (TensorView* const view : {&args.q, &args.k, &args.v, &args.out}) *view = take_f32(workspace, *view);
    threads = workspace.take(DType::kF32, {pieces.threads, pieces.scratch});
  }
  AttentionArgs args;
  TensorView threads;
};

}  // namespace

bool has_kernel(const CpuBackend&, const AttentionArgs& args) {
  return args.q.dim(2) > 0;
}

void CpuBackend::take_scratch_op(Workspace& workspace, const AttentionArgs& args) {
  if (args.out.elements() > 0) AttentionScratch(workspace, args, pieces_of(kernels_, threads_, args));
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const AttentionArgs& args) {
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t heads = args.q.dim(1);
  const std::int64_t keys = args.k.dim(0);
  const std::int64_t width = args.q.dim(2);
  if (queries == 0 || heads == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  // A few tiles of queries of one head are one piece of work; their scores never leave the cache, whatever the
  // number of keys. Heads outside, so that the threads share the keys and values that they read.
  const AttentionPieces pieces = pieces_of(cpu.kernels(), cpu.threads(), args);
  const AttentionScratch taken(ctx.workspace, args, pieces);
  const TensorView& q = taken.args.q;
  const TensorView& k = taken.args.k;
  const TensorView& v = taken.args.v;
  const TensorView& out = taken.args.out;
  const auto convert = [&](const TensorView& from, const TensorView& to) {
    if (from.data() != to.data()) copy_to_f32(cpu.kernels(), cpu.threads(), from, to);
  };
  convert(args.q, q);
  convert(args.k, k);
  convert(args.v, v);
  const std::int64_t tile = pieces.tile;
  const std::int64_t tiles = pieces.tiles;
  const int threads = pieces.threads;
  const std::int64_t scratch_size = pieces.scratch;
  float* scratch = taken.threads.as<float>();
  const auto run_tile = [&](std::int64_t index, float* memory) {
    const std::int64_t h = index / tiles;
    const std::int64_t first = index % tiles * tile;
    AttentionTile t{};
    t.q = q.as<float>() + first * q.stride(0) + h * q.stride(1);
    t.k = k.as<float>() + h * k.stride(1);
    t.v = v.as<float>() + h * v.stride(1);
    t.out = out.as<float>() + first * out.stride(0) + h * out.stride(1);
    t.log_sums = args.log_sums ? args.log_sums.as<float>() + h * queries + first : nullptr;
    t.bias = args.bias ? args.bias.as<float>() + (h * queries + first) * keys : nullptr;
    t.key_bias = args.key_bias ? args.key_bias.as<float>() : nullptr;
    t.scratch = memory;
    t.q_stride = q.stride(0);
    t.k_stride = k.stride(0);
    t.v_stride = v.stride(0);
    t.out_stride = out.stride(0);
    t.bias_stride = keys;
    t.rows = std::min(tile, queries - first);
    t.keys = keys;
    t.width = width;
    t.scale = args.scale;
    cpu.kernels().attention(t);
  };
  std::atomic<std::int64_t> next{0};
  parallel_for(threads, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part)
      for (std::int64_t i = next.fetch_add(1); i < heads * tiles; i = next.fetch_add(1))
        run_tile(i, scratch + part * scratch_size);
  });
  if (out.data() == args.out.data()) return;
  for_each_row(cpu.threads(), queries * heads, width, [&](std::int64_t row) {
    const std::int64_t i = row / heads;
    const std::int64_t h = row % heads;
    cpu.kernels().f32_to_bf16(out.as<float>() + row * width,
                              bf16_bits(args.out) + i * args.out.stride(0) + h * args.out.stride(1), width);
  });
}

}  // namespace wan
