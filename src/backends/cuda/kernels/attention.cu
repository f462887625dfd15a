// Attention with an online softmax, in f32, without tensor cores: for f32, for head widths and biases that the faster kernels
// do not take, and for every device.

#include "backends/cuda/kernels/attention.h"

#include <cstdint>

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

struct PlainAttention {
  std::int64_t queries, keys;
  int width;  // of a head, at most kWidth
  float scale;
  std::int64_t q_token, q_head, k_token, k_head, v_token, v_head, out_token, out_head;  // strides
  const float* bias;      // [heads, queries, keys] or nullptr
  const float* key_bias;  // [keys] or nullptr
  float* log_sums;        // [heads, queries] or nullptr
};

/// kQueries queries of one head a block; each query's scores and sums belong to kThreads / kQueries neighbouring threads.
/// kKeys keys, then their values, pass through shared memory at a time.
template <int kMostWidth, int kQueryTile, int kKeyTile>
struct AttentionShape {
  static constexpr int kWidth = kMostWidth;
  static constexpr int kQueries = kQueryTile;
  static constexpr int kKeys = kKeyTile;
  static constexpr int kThreads = 128;
  static constexpr int kLanes = kThreads / kQueries;
  static constexpr int kRow = kWidth + 1;  // of shared memory, one apart from a multiple of the banks
  static constexpr int kScoreRow = kKeys + 1;
  static constexpr std::size_t kSharedBytes =
      sizeof(float) * (kQueries * kRow + kKeys * kRow + kQueries * kScoreRow);
  static_assert(kKeys % kLanes == 0 && kWidth % kLanes == 0 && 32 % kLanes == 0);
};

/// Rows [first, first + count) of one head to shared memory as f32, zeros past the rows and the width.
template <typename Shape, typename T>
__device__ inline void load_rows(const T* from, std::int64_t stride, std::int64_t first, std::int64_t end,
                                 int count, int width, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < count * Shape::kWidth; i += Shape::kThreads) {
    const int row = i / Shape::kWidth;
    const int d = i % Shape::kWidth;
    const bool inside = first + row < end && d < width;
    to[row * Shape::kRow + d] = inside ? to_f32(from[(first + row) * stride + d]) : 0.0f;
  }
}

/// The result of op(value) over the kLanes neighbouring threads of a query.
template <int kLanes, typename Op>
__device__ inline float over_lanes(float value, Op op) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2)
    value = op(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

template <typename T, typename Out, typename Shape>
__global__ void plain_attention_kernel(const T* q, const T* k, const T* v, Out* out, PlainAttention p) {
  constexpr int kLanes = Shape::kLanes;
  constexpr int kScores = Shape::kKeys / kLanes;  // of a thread
  constexpr int kSums = Shape::kWidth / kLanes;
  float* q_rows = dynamic_shared<float>();
  float* kv_rows = q_rows + Shape::kQueries * Shape::kRow;
  float* weights = kv_rows + Shape::kKeys * Shape::kRow;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int row = static_cast<int>(threadIdx.x) / kLanes;
  const std::int64_t head = blockIdx.y;
  const std::int64_t first_query = static_cast<std::int64_t>(blockIdx.x) * Shape::kQueries;
  const std::int64_t query = first_query + row;
  const bool is_query = query < p.queries;
  const float* bias = p.bias != nullptr && is_query ? p.bias + (head * p.queries + query) * p.keys : nullptr;

  load_rows<Shape>(q + head * p.q_head, p.q_token, first_query, p.queries, Shape::kQueries, p.width, q_rows);
  float sums[kSums];
#pragma unroll
  for (int j = 0; j < kSums; ++j) sums[j] = 0.0f;
  float highest = -INFINITY;
  float total = 0.0f;
  for (std::int64_t first = 0; first < p.keys; first += Shape::kKeys) {
    __syncthreads();  // the values before are done with
    load_rows<Shape>(k + head * p.k_head, p.k_token, first, p.keys, Shape::kKeys, p.width, kv_rows);
    __syncthreads();
    float scores[kScores];
#pragma unroll
    for (int j = 0; j < kScores; ++j) scores[j] = 0.0f;
    for (int d = 0; d < p.width; ++d) {
      const float x = q_rows[row * Shape::kRow + d];
#pragma unroll
      for (int j = 0; j < kScores; ++j) scores[j] += x * kv_rows[(lane + j * kLanes) * Shape::kRow + d];
    }
    float tile_highest = -INFINITY;
#pragma unroll
    for (int j = 0; j < kScores; ++j) {
      const std::int64_t key = first + lane + j * kLanes;
      scores[j] *= p.scale;
      if (key < p.keys) {
        if (bias != nullptr) scores[j] += bias[key];
        if (p.key_bias != nullptr) scores[j] += p.key_bias[key];
      } else {
        scores[j] = -INFINITY;
      }
      tile_highest = fmaxf(tile_highest, scores[j]);
    }
    tile_highest = over_lanes<kLanes>(tile_highest, [](float a, float b) { return fmaxf(a, b); });
    const float before = highest;
    highest = fmaxf(highest, tile_highest);
    // Until a key is not masked, everything so far is 0 and stays so.
    const float shrink = highest == -INFINITY ? 1.0f : expf(before - highest);
    float tile_total = 0.0f;
#pragma unroll
    for (int j = 0; j < kScores; ++j) {
      const float weight = highest == -INFINITY ? 0.0f : expf(scores[j] - highest);
      weights[row * Shape::kScoreRow + lane + j * kLanes] = weight;
      tile_total += weight;
    }
    total = total * shrink + over_lanes<kLanes>(tile_total, [](float a, float b) { return a + b; });
    __syncthreads();  // the keys are done with
    load_rows<Shape>(v + head * p.v_head, p.v_token, first, p.keys, Shape::kKeys, p.width, kv_rows);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kSums; ++j) sums[j] *= shrink;
    for (int key = 0; key < Shape::kKeys; ++key) {
      const float weight = weights[row * Shape::kScoreRow + key];
#pragma unroll
      for (int j = 0; j < kSums; ++j) sums[j] += weight * kv_rows[key * Shape::kRow + lane + j * kLanes];
    }
  }
  if (!is_query) return;
  if (p.log_sums != nullptr && lane == 0) p.log_sums[head * p.queries + query] = highest + logf(total);
  Out* to = out + query * p.out_token + head * p.out_head;
#pragma unroll
  for (int j = 0; j < kSums; ++j) {
    const int d = lane + j * kLanes;
    if (d < p.width) to[d] = from_f32<Out>(sums[j] / total);
  }
}

namespace {

/// visit(AttentionShape): the narrowest that holds a head. Wider heads take fewer queries at a time, so that their rows and
/// sums fit shared memory (99 KB a block on the smallest device) and registers.
template <typename Visit>
void with_attention_shape(std::int64_t width, Visit&& visit) {
  WAN_ASSERT(width <= kWidestPlainHead);
  if (width <= 64) return visit(AttentionShape<64, 32, 32>());
  if (width <= 128) return visit(AttentionShape<128, 32, 32>());
  if (width <= 256) return visit(AttentionShape<256, 16, 32>());
  visit(AttentionShape<kWidestPlainHead, 16, 32>());
}

}  // namespace

void launch_plain_attention(cudaStream_t stream, const AttentionArgs& args) {
  PlainAttention plain{};
  plain.queries = args.q.dim(0);
  plain.keys = args.k.dim(0);
  plain.width = static_cast<int>(args.q.dim(2));
  plain.scale = args.scale;
  plain.q_token = args.q.stride(0);
  plain.q_head = args.q.stride(1);
  plain.k_token = args.k.stride(0);
  plain.k_head = args.k.stride(1);
  plain.v_token = args.v.stride(0);
  plain.v_head = args.v.stride(1);
  plain.out_token = args.out.stride(0);
  plain.out_head = args.out.stride(1);
  plain.bias = args.bias ? args.bias.as<float>() : nullptr;
  plain.key_bias = args.key_bias ? args.key_bias.as<float>() : nullptr;
  plain.log_sums = args.log_sums ? args.log_sums.as<float>() : nullptr;
  const auto heads = static_cast<unsigned>(args.q.dim(1));
  with_attention_shape(plain.width, [&](auto shape) {
    using Shape = decltype(shape);
    with_activation_type(args.q.dtype(), [&](auto tag) {
      with_activation_type(args.out.dtype(), [&](auto out_tag) {
        using T = typename decltype(tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream,
               {dim3(blocks_for(plain.queries, Shape::kQueries), heads), dim3(Shape::kThreads),
                Shape::kSharedBytes},
               plain_attention_kernel<T, Out, Shape>, reinterpret_cast<const T*>(args.q.data()),
               reinterpret_cast<const T*>(args.k.data()), reinterpret_cast<const T*>(args.v.data()),
               reinterpret_cast<Out*>(args.out.data()), plain);
      });
    });
  });
}

}  // namespace wan::cuda
