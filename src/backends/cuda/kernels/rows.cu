#include "backends/cuda/kernels/rows.h"

#include "backends/cuda/kernels/held_row_kernels.h"
#include "backends/cuda/kernels/row_launch.h"

namespace wan::cuda {

namespace {

constexpr int kPack = 8;

/// Whether a block of threads holds a row of packs, and a warp would have too much of it.
bool block_holds(bool packs, std::int64_t width) {
  return packs && width > kPack * kWarpRow * kPacksOfALane && width <= kPack * kHeldThreads * kHeldPacks;
}

LaunchShape block_each(std::int64_t rows) {
  return {dim3(blocks_for(rows, 1)), dim3(kHeldThreads)};
}

/// table: none, or of rms_norm_rope with heads of `head`.
struct HeldRmsNorm {
  TensorView x, weight, out;
  float eps;
  TensorView table = {};
  int head = 1;
};

void launch_held_rms_norm(cudaStream_t stream, const HeldRmsNorm& args) {
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      launch(stream, block_each(args.x.dim(0)), held_rms_norm_kernel<X, Out, kPack>,
             reinterpret_cast<const X*>(args.x.data()), row_stride(args.x), as_vector(args.weight), args.eps,
             args.table ? args.table.as<float>() : nullptr, args.head,
             reinterpret_cast<Out*>(args.out.data()), row_stride(args.out), static_cast<int>(args.x.dim(1)));
    });
  });
}

void launch_held_channel_norm(cudaStream_t stream, const ChannelNormArgs& args) {
  constexpr int kThreads = 256;
  const std::int64_t rows = args.x.dim(0);
  const auto width = static_cast<int>(args.x.dim(1));
  with_row_lanes(width / kPack, kPacksOfALane, [&](auto lanes) {
    with_activation_type(args.x.dtype(), [&](auto x_tag) {
      with_activation_type(args.out.dtype(), [&](auto out_tag) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, {dim3(blocks_for(rows, kThreads / lanes())), dim3(kThreads)},
               held_channel_norm_kernel<X, Out, lanes(), kPack>, reinterpret_cast<const X*>(args.x.data()),
               row_stride(args.x), args.gamma.as<float>(), args.activation,
               reinterpret_cast<Out*>(args.out.data()), row_stride(args.out), rows, width);
      });
    });
  });
}

}  // namespace

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
  const bool wide = packs_fit({args.x, args.out, args.weight, args.bias, args.scale, args.shift}, kPack);
  for_each_segment_group(args.scale ? args.segments : RowSegments{}, args.x.dim(0),
                         [&](const SegmentGroup& group) {
                           if (block_holds(wide, rows.width))
                             return with_activation_type(args.out.dtype(), [&](auto out_tag) {
                               using Out = typename decltype(out_tag)::type;
                               launch(stream, block_each(group.rows), held_layer_norm_kernel<Out, kPack>,
                                      rows, reinterpret_cast<Out*>(args.out.data()), group);
                             });
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
  const bool wide = packs_fit({args.x, args.out, args.weight}, kPack);
  if (block_holds(wide, width))
    return launch_held_rms_norm(stream,
                                {.x = args.x, .weight = args.weight, .out = args.out, .eps = args.eps});
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
  const bool wide = packs_fit({args.x, args.out, args.weight}, kPack) && head % kPack == 0 &&
                    reinterpret_cast<std::uintptr_t>(args.table.data()) % 16 == 0;
  if (block_holds(wide, width))
    return launch_held_rms_norm(stream, {.x = args.x,
                                         .weight = args.weight,
                                         .out = args.out,
                                         .eps = args.eps,
                                         .table = args.table,
                                         .head = head});
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

void launch_channel_norm(cudaStream_t stream, const ChannelNormArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.out, args.gamma}, kPack);
  if (wide && width <= kPack * kWarpRow * kPacksOfALane) return launch_held_channel_norm(stream, args);
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
