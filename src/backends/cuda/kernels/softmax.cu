// Softmax over rows, a block a row: once over the scores for their maximum and sum, once for the weights.

#include "backends/cuda/kernels/softmax.h"

#include <cstdint>

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kSoftmaxThreads = 256;

struct SoftmaxRows {
  const float* scores;
  const float* bias;                   // or nullptr
  const float* key_bias;               // or nullptr
  float* log_sums;                     // or nullptr
  std::int64_t bias_head, bias_query;  // strides
  std::int64_t log_sums_head;
  std::int64_t queries, keys;
  float scale;
};

/// N scores of a row, scaled and with their biases.
template <int N>
__device__ inline void load_scores(const SoftmaxRows& p, const float* scores, const float* bias,
                                   std::int64_t key, float (&to)[N]) {
  load_pack<N>(scores + key, to);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] *= p.scale;
  for (const float* addends : {bias, p.key_bias}) {
    if (addends == nullptr) continue;
    float values[N];
    load_pack<N>(addends + key, values);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] += values[i];
  }
}

template <typename Out, int N>
__global__ void softmax_kernel(SoftmaxRows p, Out* weights) {
  const std::int64_t row = blockIdx.x;
  const float* scores = p.scores + row * p.keys;
  const float* bias =
      p.bias != nullptr ? p.bias + row / p.queries * p.bias_head + row % p.queries * p.bias_query : nullptr;
  const std::int64_t first = std::int64_t{threadIdx.x} * N;
  constexpr std::int64_t kStep = std::int64_t{kSoftmaxThreads} * N;
  float values[N];
  float highest = -INFINITY;
  float total = 0.0f;  // of exp(score - highest)
  for (std::int64_t key = first; key < p.keys; key += kStep) {
    load_scores<N>(p, scores, bias, key, values);
    const float before = highest;
#pragma unroll
    for (int i = 0; i < N; ++i) highest = fmaxf(highest, values[i]);
    if (highest == -INFINITY) continue;  // masked so far
    total *= expf(before - highest);
#pragma unroll
    for (int i = 0; i < N; ++i) total += expf(values[i] - highest);
  }
  const float row_highest = row_max<kSoftmaxThreads>(highest);
  const float own = highest == -INFINITY ? 0.0f : total * expf(highest - row_highest);
  const float row_total = row_sum<kSoftmaxThreads>(own);
  if (p.log_sums != nullptr && threadIdx.x == 0)
    p.log_sums[row / p.queries * p.log_sums_head + row % p.queries] = row_highest + logf(row_total);
  const float inverse = 1.0f / row_total;
  for (std::int64_t key = first; key < p.keys; key += kStep) {
    load_scores<N>(p, scores, bias, key, values);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = expf(values[i] - row_highest) * inverse;
    store_pack<N>(weights + row * p.keys + key, values);
  }
}

void launch_softmax(cudaStream_t stream, const SoftmaxArgs& args) {
  constexpr int kWide = 4;
  SoftmaxRows rows{};
  rows.scores = args.scores.as<float>();
  rows.queries = args.scores.dim(1);
  rows.keys = args.scores.dim(2);
  rows.scale = args.scale;
  if (args.bias) {
    rows.bias = args.bias.as<float>();
    rows.bias_head = args.bias.stride(0);
    rows.bias_query = args.bias.stride(1);
  }
  if (args.key_bias) rows.key_bias = args.key_bias.as<float>();
  if (args.log_sums) {
    rows.log_sums = args.log_sums.as<float>();
    rows.log_sums_head = args.log_sums.stride(0);
  }
  const LaunchShape shape{dim3(blocks_for(args.scores.dim(0) * rows.queries, 1)), dim3(kSoftmaxThreads)};
  const bool wide = packs_fit({args.scores, args.bias, args.key_bias, args.weights}, kWide);
  with_activation_type(args.weights.dtype(), [&](auto tag) {
    using Out = typename decltype(tag)::type;
    launch(stream, shape, wide ? softmax_kernel<Out, kWide> : softmax_kernel<Out, 1>, rows,
           reinterpret_cast<Out*>(args.weights.data()));
  });
}

}  // namespace wan::cuda
