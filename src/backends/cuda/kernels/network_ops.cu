// Pointwise functions, a thread an element; reductions, a warp a row; depthwise convolutions, a thread an element of the result.

#include "backends/cuda/kernels/network_ops.h"

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kNetworkThreads = 256;

/// PointwisePlan as a kernel takes it.
struct PointwiseLoops {
  std::int64_t sizes[Shape::kMaxRank];
  std::int64_t x[Shape::kMaxRank], y[Shape::kMaxRank], out[Shape::kMaxRank];
  int rank;
  std::int64_t count;
};

__device__ inline float point(PointwiseKind kind, float x, float y) {
  switch (kind) {
    case PointwiseKind::kAdd:
      return x + y;
    case PointwiseKind::kSub:
      return x - y;
    case PointwiseKind::kMul:
      return x * y;
    case PointwiseKind::kDiv:
      return x / y;
    case PointwiseKind::kPow:
      return y == 2.0f ? x * x : powf(x, y);
    case PointwiseKind::kMin:
      return x < y || x != x ? x : y;
    case PointwiseKind::kMax:
      return x > y || x != x ? x : y;
    case PointwiseKind::kRelu:
      return x < 0.0f ? 0.0f : x;
    case PointwiseKind::kSigmoid:
      return 1.0f / (1.0f + expf(-x));
    case PointwiseKind::kSiLU:
      return activate(ActivationKind::kSiLU, x);
    case PointwiseKind::kGelu:
      return activate(ActivationKind::kGelu, x);
    case PointwiseKind::kGeluTanh:
      return activate(ActivationKind::kGeluTanh, x);
    case PointwiseKind::kTanh:
      return tanhf(x);
    case PointwiseKind::kErf:
      return erff(x);
    case PointwiseKind::kSqrt:
      return sqrtf(x);
    case PointwiseKind::kExp:
      return expf(x);
    case PointwiseKind::kLog:
      return logf(x);
    case PointwiseKind::kNeg:
      return -x;
    case PointwiseKind::kAbs:
      return fabsf(x);
    case PointwiseKind::kFloor:
      return floorf(x);
    case PointwiseKind::kCeil:
      return ceilf(x);
    case PointwiseKind::kReciprocal:
      return 1.0f / x;
  }
  return x;
}

/// Index: 32 bits where the count allows, for divisions by run-time numbers take long.
template <typename Index>
__global__ void pointwise_kernel(PointwiseKind kind, const float* x, const float* y, float* out,
                                 PointwiseLoops loops) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= loops.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t at_x = 0;
  std::int64_t at_y = 0;
  std::int64_t at_out = 0;
  for (int d = loops.rank - 1; d > 0; --d) {
    const auto size = static_cast<Index>(loops.sizes[d]);
    const auto index = static_cast<std::int64_t>(rest % size);
    rest /= size;
    at_x += index * loops.x[d];
    at_y += index * loops.y[d];
    at_out += index * loops.out[d];
  }
  const auto index = static_cast<std::int64_t>(rest);
  at_x += index * loops.x[0];
  at_y += index * loops.y[0];
  at_out += index * loops.out[0];
  out[at_out] = point(kind, x[at_x], y[at_y]);
}

__device__ inline float fold(RowReductionKind kind, float a, float b) {
  if (kind == RowReductionKind::kMax) return a > b || a != a ? a : b;
  if (kind == RowReductionKind::kMin) return a < b || a != a ? a : b;
  return a + b;
}

__global__ void row_reduction_kernel(RowReductionKind kind, const float* x, float* out, std::int64_t rows,
                                     std::int64_t width) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kNetworkThreads / 32) +
                           static_cast<std::int64_t>(threadIdx.x / 32);
  if (row >= rows) return;  // a whole warp
  const auto lane = static_cast<std::int64_t>(threadIdx.x % 32);
  const bool sums = kind == RowReductionKind::kSum || kind == RowReductionKind::kMean;
  // Lanes past the end have the row's first value, which changes no maximum.
  float value = lane < width ? x[row * width + lane] : sums ? 0.0f : x[row * width];
  for (std::int64_t c = lane + 32; c < width; c += 32) value = fold(kind, value, x[row * width + c]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    value = fold(kind, value, __shfl_xor_sync(0xffffffffu, value, step));
  if (kind == RowReductionKind::kMean) value /= static_cast<float>(width);
  if (lane == 0) out[row] = value;
}

struct DepthwiseSizes {
  std::int64_t height, width, channels;  // of the input
  std::int64_t rows, columns;            // of the result
  int taps_down, taps_across;
  int stride[2], dilation[2];
  int top, left;
  std::int64_t count;
};

template <typename Index>
__global__ void depthwise_kernel(const float* x, const float* weight, const float* bias, float* out,
                                 DepthwiseSizes sizes) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= sizes.count) return;
  auto rest = static_cast<Index>(thread);
  const auto c = static_cast<std::int64_t>(rest % static_cast<Index>(sizes.channels));
  rest /= static_cast<Index>(sizes.channels);
  const auto column = static_cast<std::int64_t>(rest % static_cast<Index>(sizes.columns));
  rest /= static_cast<Index>(sizes.columns);
  const auto row = static_cast<std::int64_t>(rest % static_cast<Index>(sizes.rows));
  const auto picture = static_cast<std::int64_t>(rest / static_cast<Index>(sizes.rows));
  const std::int64_t first_y = sizes.stride[0] * row - sizes.top;
  const std::int64_t first_x = sizes.stride[1] * column - sizes.left;
  float sum = bias != nullptr ? bias[c] : 0.0f;
  for (int b = 0; b < sizes.taps_down; ++b) {
    const std::int64_t in_y = first_y + static_cast<std::int64_t>(b) * sizes.dilation[0];
    if (in_y < 0 || in_y >= sizes.height) continue;
    for (int a = 0; a < sizes.taps_across; ++a) {
      const std::int64_t in_x = first_x + static_cast<std::int64_t>(a) * sizes.dilation[1];
      if (in_x < 0 || in_x >= sizes.width) continue;
      const std::int64_t from = ((picture * sizes.height + in_y) * sizes.width + in_x) * sizes.channels + c;
      sum += x[from] * weight[(static_cast<std::int64_t>(b) * sizes.taps_across + a) * sizes.channels + c];
    }
  }
  out[thread] = sum;
}

void launch_pointwise(cudaStream_t stream, const PointwiseArgs& args) {
  if (args.out.elements() == 0) return;
  const PointwisePlan plan = pointwise_plan(args);
  PointwiseLoops loops{};
  loops.rank = plan.rank;
  loops.count = plan.count;
  for (int d = 0; d < plan.rank; ++d) {
    const auto& axis = plan.axes[static_cast<std::size_t>(d)];
    loops.sizes[d] = axis.size;
    loops.x[d] = axis.x;
    loops.y[d] = axis.y;
    loops.out[d] = axis.out;
  }
  const float* x = args.x.as<float>();
  const float* y = args.y ? args.y.as<float>() : x;
  with_index_type(plan.count, [&](auto tag) {
    launch(stream, {dim3(blocks_for(plan.count, kNetworkThreads)), dim3(kNetworkThreads)},
           pointwise_kernel<typename decltype(tag)::type>, args.kind, x, y, args.out.as<float>(), loops);
  });
}

void launch_row_reduction(cudaStream_t stream, const RowReductionArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  launch(stream, {dim3(blocks_for(rows, kNetworkThreads / 32)), dim3(kNetworkThreads)}, row_reduction_kernel,
         args.kind, args.x.as<float>(), args.out.as<float>(), rows, args.x.dim(1));
}

void launch_depthwise_conv(cudaStream_t stream, const DepthwiseConvArgs& args) {
  DepthwiseSizes sizes{};
  sizes.height = args.x.dim(1);
  sizes.width = args.x.dim(2);
  sizes.channels = args.x.dim(3);
  sizes.rows = args.out.dim(1);
  sizes.columns = args.out.dim(2);
  sizes.taps_down = static_cast<int>(args.weight.dim(0));
  sizes.taps_across = static_cast<int>(args.weight.dim(1));
  for (int i = 0; i < 2; ++i) {
    sizes.stride[i] = args.stride[static_cast<std::size_t>(i)];
    sizes.dilation[i] = args.dilation[static_cast<std::size_t>(i)];
  }
  sizes.top = args.padding.top;
  sizes.left = args.padding.left;
  sizes.count = args.out.elements();
  with_index_type(sizes.count, [&](auto tag) {
    launch(stream, {dim3(blocks_for(sizes.count, kNetworkThreads)), dim3(kNetworkThreads)},
           depthwise_kernel<typename decltype(tag)::type>, args.x.as<float>(), args.weight.as<float>(),
           args.bias ? args.bias.as<float>() : nullptr, args.out.as<float>(), sizes);
  });
}

}  // namespace wan::cuda
