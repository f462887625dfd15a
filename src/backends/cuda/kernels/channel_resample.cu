#include "backends/cuda/kernels/channel_resample.h"

#include "backends/cuda/kernels/channel_resample_kernels.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

namespace {

constexpr int kThreads = 256;

LaunchShape thread_each(std::int64_t count) {
  return {dim3(blocks_for(count, kThreads)), dim3(kThreads)};
}

ResampleShape shape_of(const TensorView& coarse, const TensorView& fine, const ResampleFactors& factors) {
  ResampleShape s{};
  s.frames = coarse.dim(0);
  s.height = coarse.dim(1);
  s.width = coarse.dim(2);
  s.coarse_channels = coarse.dim(3);
  s.fine_channels = fine.dim(3);
  s.time = factors.time;
  s.space = factors.space;
  s.group = s.fine_channels * factors.cell() / s.coarse_channels;
  s.missing = s.frames * s.time - fine.dim(0);
  return s;
}

}  // namespace

void launch_average_down(cudaStream_t stream, const AverageDownArgs& args) {
  ResampleShape shape = shape_of(args.out, args.in, args.factors);
  shape.count = args.out.elements();
  with_activation_type(args.in.dtype(), [&](auto in_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using In = typename decltype(in_tag)::type;
      using Out = typename decltype(out_tag)::type;
      launch(stream, thread_each(shape.count), average_down_kernel<In, Out>,
             reinterpret_cast<const In*>(args.in.data()), reinterpret_cast<Out*>(args.out.data()), shape);
    });
  });
}

void launch_duplicate_up(cudaStream_t stream, const DuplicateUpArgs& args) {
  ResampleShape shape = shape_of(args.in, args.out, args.factors);
  with_activation_type(args.in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = packs_fit(args.out, kWide);
    shape.count = args.out.elements() / (wide ? kWide : 1);
    with_index_type(args.out.elements(), [&](auto index_tag) {
      using Index = typename decltype(index_tag)::type;
      launch(stream, thread_each(shape.count),
             wide ? duplicate_up_kernel<T, Index, kWide> : duplicate_up_kernel<T, Index, 1>,
             reinterpret_cast<const T*>(args.in.data()), reinterpret_cast<T*>(args.out.data()), shape);
    });
  });
}

}  // namespace wan::cuda
