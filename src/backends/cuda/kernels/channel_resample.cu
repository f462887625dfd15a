#include "backends/cuda/kernels/channel_resample.h"

#include <limits>

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
  const bool small = args.out.elements() <= std::numeric_limits<std::int32_t>::max();
  with_activation_type(args.in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = packs_fit(args.out, kWide);
    shape.count = args.out.elements() / (wide ? kWide : 1);
    const auto run = [&](auto kernel) {
      launch(stream, thread_each(shape.count), kernel, reinterpret_cast<const T*>(args.in.data()),
             reinterpret_cast<T*>(args.out.data()), shape);
    };
    if (!small)
      return run(wide ? duplicate_up_kernel<T, std::uint64_t, kWide>
                      : duplicate_up_kernel<T, std::uint64_t, 1>);
    run(wide ? duplicate_up_kernel<T, std::uint32_t, kWide> : duplicate_up_kernel<T, std::uint32_t, 1>);
  });
}

}  // namespace wan::cuda
