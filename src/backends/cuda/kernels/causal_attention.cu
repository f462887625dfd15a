// Causal attention in one pass over the keys: a block a query and a group of the heads that share its keys, so that those are read
// once for all of them. Where that makes few blocks, each has a part of the keys, and a second kernel joins the parts: a kernel of its
// own for this, whose many threads do little each, since there the wait for memory and instructions counts and not their rate.

#include "backends/cuda/kernels/early_launch.h"
#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kCausalHeads = 8;                                     // of a block
constexpr int kCausalColumns = kWidestCausalHead / kCausalThreads;  // of a head, that a thread sums
constexpr int kPartThreads = 512;                                   // of a block that has a part of the keys
static_assert(kMostCausalParts <= kPartThreads);

struct CausalRows {
  Vector q;
  const void* k;
  const void* v;
  void* out;
  bool out_is_bf16;
  std::int64_t q_row, q_head, k_row, k_head, v_row, v_head, out_row, out_head;  // strides
  std::int64_t queries, keys;
  int heads, sharing, groups, width;  // groups: blocks for the heads that share keys
  float scale;
  int parts;
  float* partial;  // [queries, heads, parts, width + 2]: sums, then the highest score and the sum of weights
};

__device__ inline float element_of(const Vector& from, std::int64_t at) {
  return from.is_bf16 ? to_f32(static_cast<const BFloat16*>(from.data)[at])
                      : static_cast<const float*>(from.data)[at];
}

__device__ inline void store_element_of(void* out, bool is_bf16, std::int64_t at, float value) {
  if (is_bf16)
    static_cast<BFloat16*>(out)[at] = from_f32<BFloat16>(value);
  else
    static_cast<float*>(out)[at] = value;
}

/// What a block of the two kernels below works on.
struct CausalBlock {
  std::int64_t row, seen;  // the query, and how many keys it sees
  int shared, first_head, heads;

  __device__ explicit CausalBlock(const CausalRows& p) {
    row = blockIdx.x;
    seen = p.keys - p.queries + row + 1;
    shared = static_cast<int>(blockIdx.y) / p.groups;
    const int first_of_shared = static_cast<int>(blockIdx.y) % p.groups * kCausalHeads;
    first_head = shared * p.sharing + first_of_shared;
    const int left = p.sharing - first_of_shared;
    heads = left < kCausalHeads ? left : kCausalHeads;
  }
};

/// The block's queries, scaled, into shared memory [kCausalHeads][kWidestCausalHead].
template <int kThreads>
__device__ inline void load_queries(const CausalRows& p, const CausalBlock& block, float* queries) {
  constexpr int kBatch = 4;  // that are under way at once
  constexpr int kAll = kCausalHeads * kWidestCausalHead;
  static_assert(kAll % (kBatch * kThreads) == 0);
  for (int first = static_cast<int>(threadIdx.x); first < kAll; first += kBatch * kThreads) {
    float held[kBatch];
#pragma unroll
    for (int u = 0; u < kBatch; ++u) {
      const int head = (first + u * kThreads) / kWidestCausalHead;
      const int column = (first + u * kThreads) % kWidestCausalHead;
      const bool there = head < block.heads && column < p.width;
      const std::int64_t at = block.row * p.q_row + (block.first_head + head) * p.q_head + column;
      held[u] = there ? element_of(p.q, at) : 0.0f;
    }
#pragma unroll
    for (int u = 0; u < kBatch; ++u) queries[first + u * kThreads] = held[u] * p.scale;
  }
}

/// To each head's score: its query's elements from one on, times the N of a key from there on.
template <int N>
__device__ inline void add_products(const CausalBlock& block, const float* queries,
                                    const float (&elements)[N], float (&scores)[kCausalHeads]) {
#pragma unroll
  for (int h = 0; h < kCausalHeads; ++h)
    if (h < block.heads) {
#pragma unroll
      for (int i = 0; i < N; ++i) scores[h] += queries[h * kWidestCausalHead + i] * elements[i];
    }
}

__device__ inline float* partial_of(const CausalRows& p, const CausalBlock& block, int head,
                                    std::int64_t part) {
  return p.partial + ((block.row * p.heads + block.first_head + head) * p.parts + part) * (p.width + 2);
}

/// For each head so far: the highest score, the sum of weights against it, and by what a new highest one multiplies what was summed.
struct RunningWeights {
  float highest[kCausalHeads], totals[kCausalHeads], corrections[kCausalHeads];

  __device__ void clear() {
    if (threadIdx.x >= kCausalHeads) return;
    highest[threadIdx.x] = -3.0e38f;
    totals[threadIdx.x] = 0.0f;
  }
  /// A warp: the scores of `count` keys of a head become weights.
  template <int kKeys>
  __device__ void add(int head, float* scores, int count) {
    float peak = -3.0e38f;
    for (int j = static_cast<int>(threadIdx.x) % 32; j < kKeys; j += 32) peak = fmaxf(peak, scores[j]);
    const float before = highest[head];
    peak = fmaxf(warp_max(peak), before);
    float total = 0.0f;
    for (int j = static_cast<int>(threadIdx.x) % 32; j < kKeys; j += 32) {
      const float weight = j < count ? expf(scores[j] - peak) : 0.0f;
      scores[j] = weight;
      total += weight;
    }
    total = warp_sum(total);
    if (threadIdx.x % 32 == 0) {
      corrections[head] = expf(before - peak);
      totals[head] = totals[head] * corrections[head] + total;
      highest[head] = peak;
    }
  }
};

/// All keys of a query, kCausalThreads at a time. K: type of keys and values. N: elements of a key that a thread reads at once.
template <typename K, int N>
__global__ void causal_attention_kernel(CausalRows p) {
  constexpr int kKeys = kCausalThreads;
  __shared__ float queries[kCausalHeads * kWidestCausalHead];
  __shared__ float weights[kCausalHeads * kKeys];
  __shared__ RunningWeights running;
  const int thread = static_cast<int>(threadIdx.x);
  const CausalBlock block(p);
  await_previous();
  load_queries<kCausalThreads>(p, block, queries);
  running.clear();
  float sums[kCausalHeads][kCausalColumns] = {};
  const K* keys = static_cast<const K*>(p.k) + block.shared * p.k_head;
  const K* values = static_cast<const K*>(p.v) + block.shared * p.v_head;

  for (std::int64_t chunk = 0; chunk < block.seen; chunk += kKeys) {
    const int count = block.seen - chunk < kKeys ? static_cast<int>(block.seen - chunk) : kKeys;
    __syncthreads();  // queries are there, and the chunk before has been summed
    float scores[kCausalHeads] = {};
    if (thread < count) {
      const K* key = keys + (chunk + thread) * p.k_row;
#pragma unroll 4
      for (int d = 0; d < p.width; d += N) {
        float elements[N];
        load_pack<N>(key + d, elements);
        add_products(block, queries + d, elements, scores);
      }
    }
#pragma unroll
    for (int h = 0; h < kCausalHeads; ++h)
      weights[h * kKeys + thread] = thread < count ? scores[h] : -3.0e38f;
    __syncthreads();
    for (int h = thread / 32; h < block.heads; h += kCausalThreads / 32)
      running.add<kKeys>(h, weights + h * kKeys, count);
    __syncthreads();
#pragma unroll
    for (int c = 0; c < kCausalColumns; ++c) {
      const int column = c * kCausalThreads + thread;
      if (column >= p.width) continue;
#pragma unroll
      for (int h = 0; h < kCausalHeads; ++h)
        if (h < block.heads) sums[h][c] *= running.corrections[h];
      const K* value = values + chunk * p.v_row + column;
#pragma unroll 8
      for (int j = 0; j < count; ++j) {
        const float element = to_f32(value[j * p.v_row]);
#pragma unroll
        for (int h = 0; h < kCausalHeads; ++h)
          if (h < block.heads) sums[h][c] += weights[h * kKeys + j] * element;
      }
    }
  }
#pragma unroll
  for (int h = 0; h < kCausalHeads; ++h) {
    if (h >= block.heads) continue;
#pragma unroll
    for (int c = 0; c < kCausalColumns; ++c) {
      const int column = c * kCausalThreads + thread;
      if (column < p.width)
        store_element_of(p.out, p.out_is_bf16,
                         block.row * p.out_row + (block.first_head + h) * p.out_head + column,
                         sums[h][c] / running.totals[h]);
    }
  }
}

/// A part of a query's keys, kCausalKeysOfPart at a time: several threads a key, then several a column of the values, which are read
/// before the scores are known.
template <typename K, int N>
__global__ void __launch_bounds__(kPartThreads, 2) causal_part_kernel(CausalRows p) {
  constexpr int kKeys = kCausalKeysOfPart;
  constexpr int kThreadsOfKey = kPartThreads / kKeys;
  constexpr int kShares = kPartThreads / kCausalThreads;  // of the keys, that a column's threads have
  constexpr int kKeysOfShare = kKeys / kShares;
  __shared__ float queries[kCausalHeads * kWidestCausalHead];
  __shared__ float weights[kCausalHeads * kKeys];
  __shared__ float of_shares[kCausalHeads][kPartThreads];
  __shared__ RunningWeights running;
  const int thread = static_cast<int>(threadIdx.x);
  const int place = thread / kThreadsOfKey;  // of the thread's key in its chunk
  const int first_of_share = thread / kCausalThreads * kKeysOfShare;
  const int first_column = thread % kCausalThreads;
  const CausalBlock block(p);
  const auto part = static_cast<std::int64_t>(blockIdx.z);
  await_previous();
  load_queries<kPartThreads>(p, block, queries);
  running.clear();
  float sums[kCausalHeads][kCausalColumns] = {};
  const std::int64_t chunks = (block.seen + kKeys - 1) / kKeys;
  const std::int64_t begin = chunks * part / p.parts * kKeys;
  const std::int64_t end_of_part = chunks * (part + 1) / p.parts * kKeys;
  const std::int64_t end = end_of_part < block.seen ? end_of_part : block.seen;
  const K* keys = static_cast<const K*>(p.k) + block.shared * p.k_head;
  const K* values = static_cast<const K*>(p.v) + block.shared * p.v_head;

  for (std::int64_t chunk = begin; chunk < end; chunk += kKeys) {
    const int count = end - chunk < kKeys ? static_cast<int>(end - chunk) : kKeys;
    K ahead[kCausalColumns][kKeysOfShare];
#pragma unroll
    for (int c = 0; c < kCausalColumns; ++c)
#pragma unroll
      for (int j = 0; j < kKeysOfShare; ++j)
        if (first_of_share + j < count && c * kCausalThreads + first_column < p.width)
          ahead[c][j] = values[(chunk + first_of_share + j) * p.v_row + c * kCausalThreads + first_column];
    const K* key = keys + (chunk + place) * p.k_row;
    const int first_of_key = thread % kThreadsOfKey * N;
    float first_elements[N];
    if (place < count && first_of_key < p.width) load_pack<N>(key + first_of_key, first_elements);
    __syncthreads();  // queries are there, and the chunk before has been summed
    float scores[kCausalHeads] = {};
    if (place < count) {
#pragma unroll 2
      for (int d = first_of_key; d < p.width; d += kThreadsOfKey * N) {
        float elements[N];
        if (d == first_of_key) {
#pragma unroll
          for (int i = 0; i < N; ++i) elements[i] = first_elements[i];
        } else {
          load_pack<N>(key + d, elements);
        }
        add_products(block, queries + d, elements, scores);
      }
    }
#pragma unroll
    for (int h = 0; h < kCausalHeads; ++h) {
      const float score = lane_sum<kThreadsOfKey>(scores[h]);
      if (thread % kThreadsOfKey == 0) weights[h * kKeys + place] = place < count ? score : -3.0e38f;
    }
    __syncthreads();
    for (int h = thread / 32; h < block.heads; h += kPartThreads / 32)
      running.add<kKeys>(h, weights + h * kKeys, count);
    __syncthreads();
#pragma unroll
    for (int h = 0; h < kCausalHeads; ++h) {
      if (h >= block.heads) continue;
#pragma unroll
      for (int c = 0; c < kCausalColumns; ++c) {
        if (c * kCausalThreads + first_column >= p.width) continue;
        float sum = sums[h][c] * running.corrections[h];
#pragma unroll
        for (int j = 0; j < kKeysOfShare; ++j)
          if (first_of_share + j < count)
            sum += weights[h * kKeys + first_of_share + j] * to_f32(ahead[c][j]);
        sums[h][c] = sum;
      }
    }
  }
#pragma unroll
  for (int c = 0; c < kCausalColumns; ++c) {
    const int column = c * kCausalThreads + first_column;
    __syncthreads();
#pragma unroll
    for (int h = 0; h < kCausalHeads; ++h) of_shares[h][thread] = sums[h][c];
    __syncthreads();
    if (column >= p.width) continue;
    for (int h = thread / kCausalThreads; h < block.heads; h += kShares) {
      float sum = 0.0f;
#pragma unroll
      for (int i = 0; i < kShares; ++i) sum += of_shares[h][i * kCausalThreads + first_column];
      partial_of(p, block, h, part)[column] = sum;
    }
  }
  if (thread < block.heads) {
    partial_of(p, block, thread, part)[p.width] = running.highest[thread];
    partial_of(p, block, thread, part)[p.width + 1] = running.totals[thread];
  }
}

/// A block a query and head: its threads look at a part each, and then each sums a column of a share of the parts.
__global__ void join_causal_parts_kernel(CausalRows p) {
  __shared__ float factors[kMostCausalParts];
  __shared__ float sums[kPartThreads];
  constexpr int kShares = kPartThreads / kCausalThreads;
  const std::int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y);
  const int thread = static_cast<int>(threadIdx.x);
  const int stride = p.width + 2;
  const float* partial = p.partial + (row * p.heads + head) * p.parts * stride;
  await_previous();
  const bool has_part = thread < p.parts;
  const float highest = has_part ? partial[thread * stride + p.width] : -3.0e38f;
  const float part_total = has_part ? partial[thread * stride + p.width + 1] : 0.0f;
  const float factor = expf(highest - row_max<kPartThreads>(highest));
  if (has_part) factors[thread] = factor;
  const float total = row_sum<kPartThreads>(factor * part_total);  // behind it all factors are there
  for (int first = 0; first < p.width; first += kCausalThreads) {
    const int column = first + thread % kCausalThreads;
    float sum = 0.0f;
    if (column < p.width) {
#pragma unroll 16
      for (int part = thread / kCausalThreads; part < p.parts; part += kShares)
        sum += factors[part] * partial[part * stride + column];
    }
    __syncthreads();
    sums[thread] = sum;
    __syncthreads();
    if (thread >= kCausalThreads || column >= p.width) continue;
#pragma unroll
    for (int i = 1; i < kShares; ++i) sum += sums[i * kCausalThreads + thread];
    store_element_of(p.out, p.out_is_bf16, row * p.out_row + head * p.out_head + column, sum / total);
  }
}

void launch_causal_attention(cudaStream_t stream, const CausalAttentionArgs& args,
                             const CausalScratch& scratch) {
  constexpr int kPack = 8;
  const auto heads = static_cast<int>(args.q.dim(1));
  const auto sharing = static_cast<int>(args.q.dim(1) / args.k.dim(1));
  const CausalRows rows{.q = as_vector(args.q),
                        .k = args.k.data(),
                        .v = args.v.data(),
                        .out = args.out.data(),
                        .out_is_bf16 = args.out.dtype() == DType::kBF16,
                        .q_row = args.q.stride(0),
                        .q_head = args.q.stride(1),
                        .k_row = args.k.stride(0),
                        .k_head = args.k.stride(1),
                        .v_row = args.v.stride(0),
                        .v_head = args.v.stride(1),
                        .out_row = args.out.stride(0),
                        .out_head = args.out.stride(1),
                        .queries = args.q.dim(0),
                        .keys = args.k.dim(0),
                        .heads = heads,
                        .sharing = sharing,
                        .groups = (sharing + kCausalHeads - 1) / kCausalHeads,
                        .width = static_cast<int>(args.q.dim(2)),
                        .scale = args.scale,
                        .parts = static_cast<int>(scratch.parts),
                        .partial = scratch.partial ? scratch.partial.as<float>() : nullptr};
  const auto queries = static_cast<unsigned>(args.q.dim(0));
  const bool wide = packs_fit(args.k, kPack);
  with_activation_type(args.k.dtype(), [&](auto tag) {
    using K = typename decltype(tag)::type;
    const auto parts = wide ? causal_part_kernel<K, kPack> : causal_part_kernel<K, 1>;
    const auto whole = wide ? causal_attention_kernel<K, kPack> : causal_attention_kernel<K, 1>;
    const bool divided = rows.parts > 1;
    launch_early(stream,
                 {dim3(queries, static_cast<unsigned>(args.k.dim(1)) * static_cast<unsigned>(rows.groups),
                       static_cast<unsigned>(rows.parts)),
                  dim3(divided ? kPartThreads : kCausalThreads)},
                 divided ? parts : whole, rows);
  });
  if (rows.parts > 1)
    launch_early(stream, {dim3(queries, static_cast<unsigned>(heads)), dim3(kPartThreads)},
                 join_causal_parts_kernel, rows);
}

}  // namespace wan::cuda
