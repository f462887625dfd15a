#include "backends/cuda/kernels/plain_products.h"

#include <algorithm>

#include "backends/cuda/kernels/launch_types.h"
#include "backends/cuda/kernels/plain_product_kernels.h"

namespace wan::cuda {

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
