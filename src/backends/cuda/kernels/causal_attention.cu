// Causal attention in one pass over the keys: a block a query and a group of the heads that share its keys, so that those are read
// once for all of them. Where that makes few blocks, each has a part of the keys, and a second kernel joins the parts.

#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kCausalHeads = 8;                                     // of a block
constexpr int kCausalColumns = kWidestCausalHead / kCausalThreads;  // of a head, that a thread sums

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

__device__ inline void store_element_of(void* out, bool is_bf16, std::int64_t at, float value) {
  if (is_bf16)
    static_cast<BFloat16*>(out)[at] = from_f32<BFloat16>(value);
  else
    static_cast<float*>(out)[at] = value;
}

/// K: type of keys and values. N: elements of a key that a thread reads at once. kKeys: keys at a time; few, and several threads to
/// each of them, where the wait for memory counts and not its rate.
template <typename K, int N, int kKeys>
__global__ void causal_attention_kernel(CausalRows p) {
  __shared__ float queries[kCausalHeads * kWidestCausalHead];
  __shared__ float weights[kCausalHeads * kKeys];
  __shared__ float highest[kCausalHeads], totals[kCausalHeads], corrections[kCausalHeads];
  constexpr int kThreadsOfKey = kCausalThreads / kKeys;
  const int thread = static_cast<int>(threadIdx.x);
  const int of_key = thread % kThreadsOfKey;
  const std::int64_t row = blockIdx.x;
  const int shared = static_cast<int>(blockIdx.y) / p.groups;
  const int first_of_shared = static_cast<int>(blockIdx.y) % p.groups * kCausalHeads;
  const int first_head = shared * p.sharing + first_of_shared;
  const int left = p.sharing - first_of_shared;
  const int heads = left < kCausalHeads ? left : kCausalHeads;
  const auto part = static_cast<std::int64_t>(blockIdx.z);

  for (int i = thread; i < heads * p.width; i += kCausalThreads) {
    float value[1];
    p.q.load(row * p.q_row + (first_head + i / p.width) * p.q_head + i % p.width, value);
    queries[i / p.width * kWidestCausalHead + i % p.width] = value[0] * p.scale;
  }
  if (thread < kCausalHeads) {
    highest[thread] = -3.0e38f;
    totals[thread] = 0.0f;
  }
  float sums[kCausalHeads][kCausalColumns] = {};
  const std::int64_t seen = p.keys - p.queries + row + 1;
  const std::int64_t chunks = (seen + kKeys - 1) / kKeys;
  const std::int64_t begin = chunks * part / p.parts * kKeys;
  const std::int64_t end_of_part = chunks * (part + 1) / p.parts * kKeys;
  const std::int64_t end = end_of_part < seen ? end_of_part : seen;
  const K* keys = static_cast<const K*>(p.k) + shared * p.k_head;
  const K* values = static_cast<const K*>(p.v) + shared * p.v_head;

  for (std::int64_t chunk = begin; chunk < end; chunk += kKeys) {
    const int count = end - chunk < kKeys ? static_cast<int>(end - chunk) : kKeys;
    __syncthreads();  // queries are there, and the chunk before has been summed
    float scores[kCausalHeads] = {};
    if (thread / kThreadsOfKey < count) {
      const K* key = keys + (chunk + thread / kThreadsOfKey) * p.k_row;
#pragma unroll 4
      for (int d = of_key * N; d < p.width; d += kThreadsOfKey * N) {
        float elements[N];
        load_pack<N>(key + d, elements);
#pragma unroll
        for (int h = 0; h < kCausalHeads; ++h)
          if (h < heads) {
#pragma unroll
            for (int i = 0; i < N; ++i) scores[h] += queries[h * kWidestCausalHead + d + i] * elements[i];
          }
      }
    }
#pragma unroll
    for (int h = 0; h < kCausalHeads; ++h) {
      const float score = lane_sum<kThreadsOfKey>(scores[h]);
      if (of_key == 0)
        weights[h * kKeys + thread / kThreadsOfKey] = thread / kThreadsOfKey < count ? score : -3.0e38f;
    }
    __syncthreads();
    // A warp a head: the scores become weights against the highest so far.
    for (int h = thread / 32; h < heads; h += kCausalThreads / 32) {
      float* of_head = weights + h * kKeys;
      float peak = -3.0e38f;
      for (int j = thread % 32; j < kKeys; j += 32) peak = fmaxf(peak, of_head[j]);
      const float before = highest[h];
      peak = fmaxf(warp_max(peak), before);
      float total = 0.0f;
      for (int j = thread % 32; j < kKeys; j += 32) {
        const float weight = j < count ? expf(of_head[j] - peak) : 0.0f;
        of_head[j] = weight;
        total += weight;
      }
      total = warp_sum(total);
      if (thread % 32 == 0) {
        corrections[h] = expf(before - peak);
        totals[h] = totals[h] * corrections[h] + total;
        highest[h] = peak;
      }
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < kCausalColumns; ++c) {
      const int column = c * kCausalThreads + thread;
      if (column >= p.width) continue;
#pragma unroll
      for (int h = 0; h < kCausalHeads; ++h)
        if (h < heads) sums[h][c] *= corrections[h];
      const K* value = values + chunk * p.v_row + column;
#pragma unroll 8
      for (int j = 0; j < count; ++j) {
        const float element = to_f32(value[j * p.v_row]);
#pragma unroll
        for (int h = 0; h < kCausalHeads; ++h)
          if (h < heads) sums[h][c] += weights[h * kKeys + j] * element;
      }
    }
  }
  __syncthreads();  // totals of a part without keys too
#pragma unroll
  for (int h = 0; h < kCausalHeads; ++h) {
    if (h >= heads) continue;
    const int head = first_head + h;
    float* partial = p.partial + ((row * p.heads + head) * p.parts + part) * (p.width + 2);
#pragma unroll
    for (int c = 0; c < kCausalColumns; ++c) {
      const int column = c * kCausalThreads + thread;
      if (column >= p.width) continue;
      if (p.parts > 1)
        partial[column] = sums[h][c];
      else
        store_element_of(p.out, p.out_is_bf16, row * p.out_row + head * p.out_head + column,
                         sums[h][c] / totals[h]);
    }
    if (p.parts > 1 && thread == 0) {
      partial[p.width] = highest[h];
      partial[p.width + 1] = totals[h];
    }
  }
}

/// A block a query and head.
__global__ void join_causal_parts_kernel(CausalRows p) {
  const std::int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y);
  const float* partial = p.partial + (row * p.heads + head) * p.parts * (p.width + 2);
  float peak = -3.0e38f;
#pragma unroll 8
  for (int part = 0; part < p.parts; ++part) peak = fmaxf(peak, partial[part * (p.width + 2) + p.width]);
  for (int column = static_cast<int>(threadIdx.x); column < p.width; column += kCausalThreads) {
    float sum = 0.0f;
    float total = 0.0f;
#pragma unroll 8
    for (int part = 0; part < p.parts; ++part) {
      const float* of_part = partial + part * (p.width + 2);
      const float factor = expf(of_part[p.width] - peak);
      sum += factor * of_part[column];
      total += factor * of_part[p.width + 1];
    }
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
    const auto few = wide ? causal_attention_kernel<K, kPack, kCausalKeysOfPart>
                          : causal_attention_kernel<K, 1, kCausalKeysOfPart>;
    const auto many = wide ? causal_attention_kernel<K, kPack, kCausalThreads>
                           : causal_attention_kernel<K, 1, kCausalThreads>;
    launch(stream,
           {dim3(queries, static_cast<unsigned>(args.k.dim(1)) * static_cast<unsigned>(rows.groups),
                 static_cast<unsigned>(rows.parts)),
            dim3(kCausalThreads)},
           rows.parts > 1 ? few : many, rows);
  });
  if (rows.parts > 1)
    launch(stream, {dim3(queries, static_cast<unsigned>(heads)), dim3(kCausalThreads)},
           join_causal_parts_kernel, rows);
}

}  // namespace wan::cuda
