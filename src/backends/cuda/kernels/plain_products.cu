// Products by the textbook, in f32 sums.

#include "backends/cuda/kernels/plain_products.h"

#include <algorithm>
#include <cstdint>

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kProductTile = 16;

struct PlainLinear {
  std::int64_t rows, inner, columns;
  std::int64_t x_stride, out_stride;
  Vector bias;
  ActivationKind activation;
};

/// A block of 16 x 16 threads makes as many results; tiles of x and weight pass through shared memory. x is rounded to the
/// weight's type first.
template <typename X, typename W, typename Out>
__global__ void plain_linear_kernel(const X* x, const W* weight, Out* out, PlainLinear p) {
  __shared__ float x_tile[kProductTile][kProductTile + 1];
  __shared__ float w_tile[kProductTile][kProductTile + 1];
  const int column_in_tile = static_cast<int>(threadIdx.x) % kProductTile;
  const int row_in_tile = static_cast<int>(threadIdx.x) / kProductTile;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kProductTile + row_in_tile;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.y) * kProductTile;
  const std::int64_t column = first_column + column_in_tile;
  const std::int64_t loaded_column = first_column + row_in_tile;
  float sum = 0.0f;
  for (std::int64_t first = 0; first < p.inner; first += kProductTile) {
    const std::int64_t k = first + column_in_tile;
    const bool x_inside = row < p.rows && k < p.inner;
    const bool w_inside = loaded_column < p.columns && k < p.inner;
    x_tile[row_in_tile][column_in_tile] =
        x_inside ? to_f32(from_f32<W>(to_f32(x[row * p.x_stride + k]))) : 0.0f;
    w_tile[row_in_tile][column_in_tile] = w_inside ? to_f32(weight[loaded_column * p.inner + k]) : 0.0f;
    __syncthreads();
    for (int i = 0; i < kProductTile; ++i) sum += x_tile[row_in_tile][i] * w_tile[column_in_tile][i];
    __syncthreads();
  }
  if (row >= p.rows || column >= p.columns) return;
  if (p.bias.data != nullptr) {
    float addend[1];
    p.bias.load(column, addend);
    sum += addend[0];
  }
  out[row * p.out_stride + column] = from_f32<Out>(activate(p.activation, sum));
}

struct PlainConv {
  int height, width, channels;  // of a frame of x
  int kernel[3], stride[3];     // time, height, width
  int top, left;                // padding
  int out_height, out_width, out_channels;
  std::int64_t x_frame, out_frame, residual_frame;  // strides
  std::int64_t count;                               // results
  Vector bias;
  Vector residual;
};

/// A thread a result.
template <typename X, typename W, typename Out>
__global__ void plain_conv3d_kernel(const X* x, const W* weight, Out* out, PlainConv p) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= p.count) return;
  const auto o = static_cast<int>(thread % p.out_channels);
  const std::int64_t pixel = thread / p.out_channels;
  const auto out_x = static_cast<int>(pixel % p.out_width);
  const auto out_y = static_cast<int>(pixel / p.out_width % p.out_height);
  const std::int64_t t = pixel / p.out_width / p.out_height;
  const W* row = weight + static_cast<std::int64_t>(o) * p.kernel[0] * p.kernel[1] * p.kernel[2] * p.channels;
  float sum = 0.0f;
  for (int a = 0; a < p.kernel[0]; ++a) {
    const X* frame = x + (t * p.stride[0] + a) * p.x_frame;
    for (int b = 0; b < p.kernel[1]; ++b) {
      const int in_y = out_y * p.stride[1] + b - p.top;
      if (in_y < 0 || in_y >= p.height) continue;
      for (int c = 0; c < p.kernel[2]; ++c) {
        const int in_x = out_x * p.stride[2] + c - p.left;
        if (in_x < 0 || in_x >= p.width) continue;
        const X* from = frame + (static_cast<std::int64_t>(in_y) * p.width + in_x) * p.channels;
        const W* taps = row + static_cast<std::int64_t>((a * p.kernel[1] + b) * p.kernel[2] + c) * p.channels;
        for (int i = 0; i < p.channels; ++i) sum += to_f32(from[i]) * to_f32(taps[i]);
      }
    }
  }
  float addend[1];
  if (p.bias.data != nullptr) {
    p.bias.load(o, addend);
    sum += addend[0];
  }
  const std::int64_t in_frame =
      thread % (static_cast<std::int64_t>(p.out_height) * p.out_width * p.out_channels);
  if (p.residual.data != nullptr) {
    p.residual.load(t * p.residual_frame + in_frame, addend);
    sum += addend[0];
  }
  out[t * p.out_frame + in_frame] = from_f32<Out>(sum);
}

namespace {

/// visit(x tag, weight tag, out tag).
template <typename Visit>
void with_product_types(DType x, DType weight, DType out, Visit&& visit) {
  with_activation_type(x, [&](auto x_tag) {
    with_activation_type(weight, [&](auto weight_tag) {
      with_activation_type(out, [&](auto out_tag) { visit(x_tag, weight_tag, out_tag); });
    });
  });
}

}  // namespace

void launch_plain_linear(cudaStream_t stream, const LinearArgs& args) {
  PlainLinear plain{};
  plain.rows = args.x.dim(0);
  plain.inner = args.x.dim(1);
  plain.columns = args.weight.dim(0);
  plain.x_stride = row_stride(args.x);
  plain.out_stride = row_stride(args.out);
  plain.bias = as_vector(args.bias);
  plain.activation = args.activation;
  const dim3 grid(blocks_for(plain.rows, kProductTile), blocks_for(plain.columns, kProductTile));
  WAN_CHECK(grid.y <= 65535, kUnsupported, "[linear] {} columns are too many for the plain kernel",
            plain.columns);
  with_product_types(
      args.x.dtype(), args.weight.dtype(), args.out.dtype(), [&](auto x_tag, auto weight_tag, auto out_tag) {
        using X = typename decltype(x_tag)::type;
        using W = typename decltype(weight_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, {grid, dim3(kProductTile * kProductTile)}, plain_linear_kernel<X, W, Out>,
               reinterpret_cast<const X*>(args.x.data()), reinterpret_cast<const W*>(args.weight.data()),
               reinterpret_cast<Out*>(args.out.data()), plain);
      });
}

void launch_plain_conv3d(cudaStream_t stream, const Conv3dArgs& args) {
  const auto extent = [](const TensorView& view, int d) { return static_cast<int>(view.dim(d)); };
  PlainConv plain{};
  plain.height = extent(args.x, 1);
  plain.width = extent(args.x, 2);
  plain.channels = extent(args.x, 3);
  for (int i = 0; i < 3; ++i) plain.kernel[i] = extent(args.weight, i + 1);
  std::copy(args.stride.begin(), args.stride.end(), plain.stride);
  plain.top = args.padding.top;
  plain.left = args.padding.left;
  plain.out_height = extent(args.out, 1);
  plain.out_width = extent(args.out, 2);
  plain.out_channels = extent(args.out, 3);
  plain.x_frame = args.x.stride(0);
  plain.out_frame = args.out.stride(0);
  plain.residual_frame = args.residual ? args.residual.stride(0) : 0;
  plain.count = args.out.elements();
  plain.bias = as_vector(args.bias);
  plain.residual = as_vector(args.residual);
  constexpr int kThreads = 128;
  with_product_types(args.x.dtype(), args.weight.dtype(), args.out.dtype(),
                     [&](auto x_tag, auto weight_tag, auto out_tag) {
                       using X = typename decltype(x_tag)::type;
                       using W = typename decltype(weight_tag)::type;
                       using Out = typename decltype(out_tag)::type;
                       launch(stream, {dim3(blocks_for(plain.count, kThreads)), dim3(kThreads)},
                              plain_conv3d_kernel<X, W, Out>, reinterpret_cast<const X*>(args.x.data()),
                              reinterpret_cast<const W*>(args.weight.data()),
                              reinterpret_cast<Out*>(args.out.data()), plain);
                     });
}

}  // namespace wan::cuda
