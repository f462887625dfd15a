// Joining two results of attention, a warp a row of a head.

#include <cstdint>

#include "backends/cuda/kernels/attention.h"
#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

struct JoinRows {
  std::int64_t queries, heads, width;
  float* log_sums;  // [heads, queries]
  const float* part_log_sums;
};

constexpr int kJoinLanes = 32;
constexpr int kJoinRows = 4;  // of a block

/// N: elements a thread moves at once.
template <typename Part, int N>
__global__ void join_attention_kernel(float* out, const Part* part, JoinRows p) {
  const int lane = static_cast<int>(threadIdx.x) % kJoinLanes;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kJoinRows + threadIdx.x / kJoinLanes;
  const bool is_row = row < p.queries * p.heads;
  const std::int64_t at = is_row ? row % p.heads * p.queries + row / p.heads : 0;
  const float before = is_row ? p.log_sums[at] : 0.0f;
  const float added = is_row ? p.part_log_sums[at] : 0.0f;
  __syncthreads();  // all have read what one of them writes
  if (!is_row) return;
  const float highest = fmaxf(before, added);
  const float both = highest + logf(expf(before - highest) + expf(added - highest));
  const float keep = expf(before - both);
  const float take = expf(added - both);
  for (std::int64_t d = static_cast<std::int64_t>(lane) * N; d < p.width; d += kJoinLanes * N) {
    float sums[N];
    float values[N];
    load_pack<N>(out + row * p.width + d, sums);
    load_pack<N>(part + row * p.width + d, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] = keep * sums[i] + take * values[i];
    store_pack<N>(out + row * p.width + d, sums);
  }
  if (lane == 0) p.log_sums[at] = both;
}

void launch_join_attention(cudaStream_t stream, const JoinAttentionArgs& args) {
  constexpr int kWide = 4;
  const JoinRows rows{.queries = args.out.dim(0),
                      .heads = args.out.dim(1),
                      .width = args.out.dim(2),
                      .log_sums = args.log_sums.as<float>(),
                      .part_log_sums = args.part_log_sums.as<float>()};
  if (args.out.elements() == 0) return;
  const bool wide = packs_fit({args.out, args.part}, kWide);
  with_activation_type(args.part.dtype(), [&](auto tag) {
    using Part = typename decltype(tag)::type;
    launch(stream, {dim3(blocks_for(rows.queries * rows.heads, kJoinRows)), dim3(kJoinRows * kJoinLanes)},
           wide ? join_attention_kernel<Part, kWide> : join_attention_kernel<Part, 1>, args.out.as<float>(),
           reinterpret_cast<const Part*>(args.part.data()), rows);
  });
}

}  // namespace wan::cuda
