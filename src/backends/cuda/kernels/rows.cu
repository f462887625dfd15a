#include "backends/cuda/kernels/rows.h"

#include "backends/cuda/kernels/row_kernels.h"
#include "backends/cuda/kernels/row_launch.h"

namespace wan::cuda {

void launch_layer_norm(cudaStream_t stream, const LayerNormArgs& args) {
  LayerNormRows rows{};
  rows.x = args.x.as<float>();
  rows.width = args.x.dim(1);
  rows.eps = args.eps;
  if (args.weight) {
    rows.factor = args.weight.as<float>();
    rows.addend = args.bias.as<float>();
  }
  if (args.scale) {
    rows.factor = args.scale.as<float>();
    rows.addend = args.shift.as<float>();
    rows.factor_stride = row_stride(args.scale);
    rows.addend_stride = row_stride(args.shift);
    rows.one = 1.0f;
  }
  const bool wide = packs_fit({args.x, args.out, args.weight, args.bias, args.scale, args.shift}, 8);
  for_each_segment_group(args.scale ? args.segments : RowSegments{}, args.x.dim(0),
                         [&](const SegmentGroup& group) {
                           with_row_kernel<1>(DType::kF32, args.out.dtype(), wide, rows.width,
                                              [&](auto, auto out_tag, auto pack, auto threads) {
                                                using Out = typename decltype(out_tag)::type;
                                                launch(stream, row_shape<threads()>(group.rows),
                                                       layer_norm_kernel<Out, threads(), pack()>, rows,
                                                       reinterpret_cast<Out*>(args.out.data()), group);
                                              });
                         });
}

void launch_rms_norm(cudaStream_t stream, const RmsNormArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.out, args.weight}, 8);
  with_row_kernel<1>(
      args.x.dtype(), args.out.dtype(), wide, width, [&](auto x_tag, auto out_tag, auto pack, auto threads) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, row_shape<threads()>(rows), rms_norm_kernel<X, Out, threads(), pack()>,
               reinterpret_cast<const X*>(args.x.data()), row_stride(args.x), as_vector(args.weight),
               args.eps, reinterpret_cast<Out*>(args.out.data()), row_stride(args.out), rows, width);
      });
}

void launch_rms_norm_rope(cudaStream_t stream, const RmsNormRopeArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const auto head = static_cast<int>(args.out.dim(2));
  const bool wide = packs_fit({args.x, args.out, args.weight}, 8) && head % 8 == 0 &&
                    reinterpret_cast<std::uintptr_t>(args.table.data()) % 16 == 0;
  with_row_kernel<2>(
      args.x.dtype(), args.out.dtype(), wide, width, [&](auto x_tag, auto out_tag, auto pack, auto threads) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, row_shape<threads()>(rows), rms_norm_rope_kernel<X, Out, threads(), pack()>,
               reinterpret_cast<const X*>(args.x.data()), row_stride(args.x), as_vector(args.weight),
               args.eps, args.table.as<float>(), reinterpret_cast<Out*>(args.out.data()),
               row_stride(args.out), rows, width, head);
      });
}

namespace {

void launch_narrow_channel_norm(cudaStream_t stream, const ChannelNormArgs& args) {
  constexpr int kPack = 8;
  constexpr int kThreads = 256;
  const std::int64_t rows = args.x.dim(0);
  const auto width = static_cast<int>(args.x.dim(1));
  with_row_lanes(width / kPack, kPacksOfALane, [&](auto lanes) {
    with_activation_type(args.x.dtype(), [&](auto x_tag) {
      with_activation_type(args.out.dtype(), [&](auto out_tag) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, {dim3(blocks_for(rows, kThreads / lanes())), dim3(kThreads)},
               narrow_channel_norm_kernel<X, Out, lanes(), kPack>, reinterpret_cast<const X*>(args.x.data()),
               row_stride(args.x), args.gamma.as<float>(), args.activation,
               reinterpret_cast<Out*>(args.out.data()), row_stride(args.out), rows, width);
      });
    });
  });
}

}  // namespace

void launch_channel_norm(cudaStream_t stream, const ChannelNormArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.out, args.gamma}, 8);
  if (wide && width <= 8 * kWarpRow * kPacksOfALane) return launch_narrow_channel_norm(stream, args);
  with_row_kernel<1>(
      args.x.dtype(), args.out.dtype(), wide, width, [&](auto x_tag, auto out_tag, auto pack, auto threads) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, row_shape<threads()>(rows), channel_norm_kernel<X, Out, threads(), pack()>,
               reinterpret_cast<const X*>(args.x.data()), row_stride(args.x), args.gamma.as<float>(),
               args.activation, reinterpret_cast<Out*>(args.out.data()), row_stride(args.out), rows, width);
      });
}

}  // namespace wan::cuda
