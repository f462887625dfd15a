#pragma once
// Attention on Hopper's tensor cores: bf16, heads of 128, any strides, an optional bias for each key. The schedule is that of
// FlashAttention-3 (Shah et al., 2024):
//
// * A block of threads answers 128 queries, 64 for each of two groups of warps. A third group only copies: keys and values come
//   through the tensor memory accelerator into two places each, whose barriers say "full" and "empty".
// * A group asks for the scores of its next keys before it adds the values of the last ones: softmax runs while the tensor cores
//   multiply, the group's own values and what the other group asked for. The groups ask in turn.
// * Two blocks of a cluster answer neighbouring queries of a head; each copies half of the keys and values for both. (What a
//   Hopper GPU does here is bounded by the power that it may take: what is not moved, or computed, makes the rest faster.)
// * Keys go from the last to the first, so that only the tile that is taken first has keys to leave out.
// * Over many keys, the greatest score is looked for in that tile alone: f32 and bf16 hold powers of two up to 2^127, so
//   what is taken off the scores may be too little by far. It is raised where sums have grown large; the queries of which a
//   tile's weights were too large nevertheless are noted, and answered again by a kernel that looks at all scores.
//
// Only for files compiled for the architecture 90a.

#include <cuda.h>
#include <cutlass/arch/barrier.h>
#include <cutlass/arch/reg_reconfig.h>
#include <cute/arch/cluster_sm90.hpp>
#include <cute/arch/copy_sm90_desc.hpp>
#include <cute/arch/copy_sm90_tma.hpp>

#include <cmath>
#include <cstdint>
#include <numbers>

#include "backends/cuda/check.h"
#include "backends/cuda/kernels/hopper_attention_rows.h"
#include "backends/cuda/scratch.h"
#include "base/error.h"
#include "ops/attention.h"

namespace wan::cuda::hopper {

constexpr int kThreads = (1 + kGroups) * 128;
constexpr int kStages = 2;
constexpr int kCluster = 2;  // blocks
static_assert(kCluster * kQueries == kHopperQueries);

struct Sizes {
  int queries;
  int keys;
  int heads;
  float scale;
  __nv_bfloat16* out;
  std::int64_t out_token;  // strides, in elements
  std::int64_t out_head;
  float* log_sums;        // [heads, queries] or null
  const float* key_bias;  // [keys]; read where the kernel is kBiased
  int* overflows;         // [heads, clusters of a head], not 0 where sums were too large; see Shift
};

/// Of q, k and v: 3 axes, (width, token, head).
struct Maps {
  CUtensorMap q, k, v;
};

using Barrier = cutlass::arch::ClusterTransactionBarrier;

template <int kKeys>
struct alignas(1024) Storage {
  // Each in pieces of the width; rows of 128 bytes.
  std::uint16_t q[kWidth / kPiece][kQueries][kPiece];
  std::uint16_t k[kStages][kWidth / kPiece][kKeys][kPiece];
  std::uint16_t v[kStages][kWidth / kPiece][kKeys][kPiece];
  Barrier q_full, q_empty;
  Barrier k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
};

/// Where in a ring of places the next tile is, and the parity of its barriers.
struct Place {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// Tells the copying threads of both blocks of the cluster that a group is through with a place. One thread for each block.
__device__ __forceinline__ void release(const Barrier& barrier) {
  const int thread = static_cast<int>(threadIdx.x) % 128;
  barrier.arrive(thread, thread < kCluster);
}

/// What a block works on, one after another.
template <Shift kShift>
struct Work {
  int head;
  int query;
  int next;
  int of_head;
  int count;
  const int* overflows;
  __device__ explicit Work(const Sizes& sizes)
      : next(static_cast<int>(blockIdx.x) / kCluster),
        of_head((sizes.queries + kQueries * kCluster - 1) / (kQueries * kCluster)),
        count(of_head * sizes.heads),
        overflows(sizes.overflows) {}
  __device__ bool take() {
    if constexpr (kShift == Shift::kMended)
      while (next < count && !overflows[next]) next += step();
    if (next >= count) return false;
    head = next / of_head;
    query = (next % of_head * kCluster + static_cast<int>(blockIdx.x) % kCluster) * kQueries;
    next += step();
    return true;
  }
  __device__ static int step() { return static_cast<int>(gridDim.x) / kCluster; }
  __device__ int taken() const { return next - step(); }
};

/// One thread of a block: the block's queries, and its share of its cluster's keys and values.
template <int kKeys, Shift kShift>
__device__ void copy_tiles(Storage<kKeys>& shared, const Maps& maps, const Sizes& sizes) {
  constexpr int kShare = kKeys / kCluster;
  constexpr std::uint16_t kBothBlocks = 0b11;
  const int first_row = static_cast<int>(blockIdx.x) % kCluster * kShare;
  const int tiles = (sizes.keys + kKeys - 1) / kKeys;
  const auto copy = [&](const CUtensorMap& map, Barrier& full, const Barrier& empty, unsigned parity,
                        std::uint16_t(&to)[kWidth / kPiece][kKeys][kPiece], int tile, int head) {
    empty.wait(parity ^ 1);
    full.arrive_and_expect_tx(sizeof(to));
    auto* const barrier = reinterpret_cast<std::uint64_t*>(&full);
    constexpr auto kHint = static_cast<std::uint64_t>(cute::TMA::CacheHintSm90::EVICT_LAST);
#pragma unroll 1
    for (int piece = 0; piece < kWidth / kPiece; ++piece)
      cute::SM90_TMA_LOAD_MULTICAST_3D::copy(&map, barrier, kBothBlocks, kHint, &to[piece][first_row],
                                             piece * kPiece, tile * kKeys + first_row, head);
  };
  Place k;
  Place v;
  unsigned q_parity = 0;
  for (Work<kShift> work(sizes); work.take();) {
    const auto copy_keys = [&](int tile) {
      copy(maps.k, shared.k_full[k.stage], shared.k_empty[k.stage], k.parity, shared.k[k.stage], tile,
           work.head);
      k.advance();
    };
    const auto copy_values = [&](int tile) {
      copy(maps.v, shared.v_full[v.stage], shared.v_empty[v.stage], v.parity, shared.v[v.stage], tile,
           work.head);
      v.advance();
    };
    shared.q_empty.wait(q_parity ^ 1);
    shared.q_full.arrive_and_expect_tx(sizeof(shared.q));
    for (int piece = 0; piece < kWidth / kPiece; ++piece)
      cute::SM90_TMA_LOAD_3D::copy(&maps.q, reinterpret_cast<std::uint64_t*>(&shared.q_full),
                                   static_cast<std::uint64_t>(cute::TMA::CacheHintSm90::EVICT_FIRST),
                                   shared.q[piece], piece * kPiece, work.query, work.head);
    q_parity ^= 1;
    copy_keys(tiles - 1);
#pragma unroll 1
    for (int tile = tiles - 2; tile >= 0; --tile) {
      copy_keys(tile);
      copy_values(tile + 1);
    }
    copy_values(0);
  }
}

/// Divides the sums by their weights. False where some of the warp's overflowed, if that is noted.
template <int kKeys, Shift kShift, bool kBiased>
__device__ __forceinline__ bool write_rows(const Sizes& sizes, const Rows<kKeys, kShift, kBiased>& rows,
                                           int head, int query) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first = query + static_cast<int>(threadIdx.x) / 32 % 4 * 16 + lane / 4;
  bool finite = true;
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const int token = first + 8 * row;
    const float weight = row_sum(rows.weight[row]);
    if (token >= sizes.queries) continue;
    const float inverse = 1.0f / weight;
    auto* const out =
        reinterpret_cast<std::uint32_t*>(sizes.out + token * sizes.out_token + head * sizes.out_head);
#pragma unroll
    for (int i = 0; i < kWidth / 8; ++i) {
      const float left = rows.sums[4 * i + 2 * row];
      const float right = rows.sums[4 * i + 2 * row + 1];
      out[4 * i + lane % 4] = pair_of_bf16(left * inverse, right * inverse);
      if constexpr (kShift == Shift::kOfTheFirst) finite = finite && isfinite(left) && isfinite(right);
    }
    if constexpr (kShift == Shift::kOfTheFirst) finite = finite && isfinite(weight) && weight > 0.0f;
    if (sizes.log_sums && lane % 4 == 0)
      sizes.log_sums[static_cast<std::int64_t>(head) * sizes.queries + token] =
          rows.shift[row] * std::numbers::ln2_v<float> + logf(weight);
  }
  return __all_sync(0xffffffff, finite);
}

template <int kKeys, Shift kShift, bool kBiased>
__device__ void attend(Storage<kKeys>& shared, const Sizes& sizes) {
  const int group = static_cast<int>(threadIdx.x) / 128 - 1;
  const float scale_log2 = sizes.scale * std::numbers::log2e_v<float>;
  const int tiles = (sizes.keys + kKeys - 1) / kKeys;
  const int last_keys = sizes.keys - (tiles - 1) * kKeys;
  const std::uint64_t q = describe(&shared.q[0][group * kGroupRows]);
  // Groups ask in turn: each waits at its own barrier, at which the other one arrives.
  constexpr unsigned kThreadsOfBoth = kGroups * 128;
  const auto await_turn = [&] { cutlass::arch::NamedBarrier::sync(kThreadsOfBoth, group); };
  const auto hand_over = [&] { cutlass::arch::NamedBarrier::arrive(kThreadsOfBoth, group ^ 1); };
  if (group == 1) hand_over();

  Rows<kKeys, kShift, kBiased> rows;
  Place k;
  Place v;
  unsigned q_parity = 0;
  const auto keys = [&] { return describe(shared.k[k.stage]); };
  const auto values = [&] { return describe(shared.v[v.stage], kKeys * 128); };
  const auto release_keys = [&] {
    release(shared.k_empty[k.stage]);
    k.advance();
  };
  const auto release_values = [&] {
    release(shared.v_empty[v.stage]);
    v.advance();
  };
  const auto add_bias = [&](int tile, int count) {
    if constexpr (kBiased) rows.add_bias(sizes.key_bias + tile * kKeys, count, 1.0f / sizes.scale);
  };
  for (Work<kShift> work(sizes); work.take();) {
    rows.begin();
    shared.q_full.wait(q_parity);
    q_parity ^= 1;
    shared.k_full[k.stage].wait(k.parity);
    await_turn();
    rows.ask_scores(q, keys());
    hand_over();
    rows.await_all();
    release_keys();
    add_bias(tiles - 1, last_keys);
    if (last_keys < kKeys) rows.leave_out(last_keys);
    rows.weigh_first(scale_log2);
    rows.round_weights();
#pragma unroll 1
    for (int tile = tiles - 2; tile >= 0; --tile) {
      shared.k_full[k.stage].wait(k.parity);
      await_turn();
      rows.ask_scores(q, keys());
      shared.v_full[v.stage].wait(v.parity);
      rows.ask_sums(values());
      hand_over();
      rows.await_scores();
      release_keys();
      add_bias(tile, kKeys);
      float factor[2];
      const bool scaled_anew = rows.weigh(scale_log2, factor);
      rows.await_all();
      release_values();
      rows.round_weights();
      if (scaled_anew) rows.scale_sums(factor);
    }
    if (threadIdx.x % 128 == 0) shared.q_empty.arrive();
    shared.v_full[v.stage].wait(v.parity);
    rows.ask_sums(values());
    rows.await_all();
    release_values();
    if (!write_rows(sizes, rows, work.head, work.query + group * kGroupRows) && threadIdx.x % 32 == 0)
      sizes.overflows[work.taken()] = 1;
  }
  if (group == 0) await_turn();  // the last one that was handed over
}

template <int kKeys, Shift kShift, bool kBiased>
__global__ void __launch_bounds__(kThreads, 1)
    hopper_attention(const __grid_constant__ Maps maps, const __grid_constant__ Sizes sizes) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<Storage<kKeys>*>(memory);
  if (threadIdx.x == 0) {
    shared.q_full.init(1);
    shared.q_empty.init(kGroups);
    for (int i = 0; i < kStages; ++i) {
      shared.k_full[i].init(1);
      shared.v_full[i].init(1);
      shared.k_empty[i].init(kGroups * kCluster);
      shared.v_empty[i].init(kGroups * kCluster);
    }
    cutlass::arch::fence_barrier_init();
  }
  const auto meet = [] {
    cute::cluster_arrive();
    cute::cluster_wait();
  };
  meet();
  if (threadIdx.x < 128) {
    cutlass::arch::warpgroup_reg_dealloc<24>();
    if (threadIdx.x == 0) copy_tiles<kKeys, kShift>(shared, maps, sizes);
    __syncwarp();
  } else {
    cutlass::arch::warpgroup_reg_alloc<240>();
    attend<kKeys, kShift, kBiased>(shared, sizes);
  }
  meet();  // the other block may still copy into this one's memory, and arrive at its barriers
}

/// The driver's description of bf16 [tokens, heads, 128] for copies of `rows` tokens of a piece of a head's width.
inline CUtensorMap tensor_map(const TensorView& view, int rows) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    WAN_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault,
                                              &found));
    WAN_CHECK(found == cudaDriverEntryPointSuccess, kDevice,
              "[attention] the GPU's driver has no cuTensorMapEncodeTiled; update it");
    return reinterpret_cast<Encode>(function);
  }();
  const auto extent = [](std::int64_t value) { return static_cast<cuuint64_t>(value); };
  const cuuint64_t sizes[] = {kWidth, extent(view.dim(0)), extent(view.dim(1))};
  const cuuint64_t strides[] = {extent(view.stride(0)) * 2, extent(view.stride(1)) * 2};
  const cuuint32_t box[] = {kPiece, static_cast<cuuint32_t>(rows), 1};
  const cuuint32_t steps[] = {1, 1, 1};
  CUtensorMap map;
  const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, view.data(), sizes, strides, box,
                                 steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  WAN_CHECK(result == CUDA_SUCCESS, kDevice,
            "[attention] the GPU's driver takes no tensor map of {}, {} and {} elements apart: error {}",
            view.shape().to_string(), view.stride(0), view.stride(1), static_cast<int>(result));
  return map;
}

/// Attention by tiles of kKeys keys, args.key_bias added if kBiased. `overflows`: [heads, ceil(queries / kHopperQueries)], zeros
/// before Shift::kOfTheFirst, and as that left them for Shift::kMended.
template <int kKeys, Shift kShift, bool kBiased>
void launch(cudaStream_t stream, int multiprocessors, const AttentionArgs& args, int* overflows = nullptr) {
  const Sizes sizes{
      .queries = static_cast<int>(args.q.dim(0)),
      .keys = static_cast<int>(args.k.dim(0)),
      .heads = static_cast<int>(args.q.dim(1)),
      .scale = args.scale,
      .out = reinterpret_cast<__nv_bfloat16*>(args.out.data()),
      .out_token = args.out.stride(0),
      .out_head = args.out.stride(1),
      .log_sums = args.log_sums ? args.log_sums.as<float>() : nullptr,
      .key_bias = kBiased ? args.key_bias.as<float>() : nullptr,
      .overflows = overflows,
  };
  const Maps maps{tensor_map(args.q, kQueries), tensor_map(args.k, kKeys / kCluster),
                  tensor_map(args.v, kKeys / kCluster)};
  const auto kernel = hopper_attention<kKeys, kShift, kBiased>;
  WAN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Storage<kKeys>)));
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kCluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = static_cast<unsigned>(multiprocessors / kCluster * kCluster);
  config.blockDim = kThreads;
  config.dynamicSmemBytes = sizeof(Storage<kKeys>);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  WAN_CUDA(cudaLaunchKernelEx(&config, kernel, maps, sizes));
}

}  // namespace wan::cuda::hopper
