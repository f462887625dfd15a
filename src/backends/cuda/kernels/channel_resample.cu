// Kernels of the shortcuts of VAE 2.2: channels for space and time, without weights.

#include "backends/cuda/kernels/channel_resample.h"

#include <cstdint>

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

/// A coarse video [frames, height, width, channels] beside the finer one, whose frames, rows and columns are these times
/// the factors.
struct ResampleShape {
  std::int64_t frames, height, width;  // of the coarse video
  std::int64_t coarse_channels, fine_channels;
  std::int64_t time, space;  // factors
  std::int64_t group;        // values that are averaged, or copies of one
  std::int64_t missing;      // fine frames before the first that are not there
  std::int64_t count;        // elements of the result
};

/// Offset of value k of a cell, in the order (channel, frame, row, column), in the fine video; -1 where its frame is missing.
__device__ inline std::int64_t fine_offset(const ResampleShape& s, std::int64_t t, std::int64_t y,
                                           std::int64_t x, std::int64_t k) {
  const std::int64_t d = k % s.space;
  const std::int64_t b = k / s.space % s.space;
  const std::int64_t a = k / (s.space * s.space) % s.time;
  const std::int64_t c = k / (s.space * s.space * s.time);
  const std::int64_t frame = t * s.time + a - s.missing;
  if (frame < 0) return -1;
  const std::int64_t row = frame * s.height * s.space + y * s.space + b;
  return (row * s.width * s.space + x * s.space + d) * s.fine_channels + c;
}

/// A thread an element of the coarse video.
template <typename In, typename Out>
__global__ void average_down_kernel(const In* in, Out* out, ResampleShape s) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= s.count) return;
  const std::int64_t o = thread % s.coarse_channels;
  const std::int64_t x = thread / s.coarse_channels % s.width;
  const std::int64_t y = thread / (s.coarse_channels * s.width) % s.height;
  const std::int64_t t = thread / (s.coarse_channels * s.width * s.height);
  float sum = 0.0f;
  for (std::int64_t k = o * s.group; k < (o + 1) * s.group; ++k) {
    const std::int64_t at = fine_offset(s, t, y, x, k);
    if (at >= 0) sum += to_f32(in[at]);
  }
  out[thread] = from_f32<Out>(sum / static_cast<float>(s.group));
}

/// A thread N channels of a pixel of the fine video; s.count in such packs. Index: 32 bits where the counts allow, because
/// divisions are most of the work.
template <typename T, typename Index, int N>
__global__ void duplicate_up_kernel(const T* in, T* out, ResampleShape s) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= s.count) return;
  const auto time = static_cast<Index>(s.time);
  const auto space = static_cast<Index>(s.space);
  const auto group = static_cast<Index>(s.group);
  const auto width = static_cast<Index>(s.width);
  const auto height = static_cast<Index>(s.height);
  const auto packs = static_cast<Index>(s.fine_channels / N);
  const Index pixel = static_cast<Index>(thread) / packs;
  const Index o = (static_cast<Index>(thread) - pixel * packs) * N;
  const Index line = pixel / (width * space);
  const Index column = pixel - line * (width * space);
  const Index picture = line / (height * space);
  const Index row = line - picture * (height * space);
  const Index frame = picture + static_cast<Index>(s.missing);
  const Index place = (frame % time * space + row % space) * space + column % space;
  const std::int64_t coarse =
      static_cast<std::int64_t>(frame / time * height + row / space) * s.width + column / space;
  const T* from = in + coarse * s.coarse_channels;
  Pack<T, N> values;
#pragma unroll
  for (int i = 0; i < N; ++i)
    values.values[i] = from[((o + static_cast<Index>(i)) * time * space * space + place) / group];
  T* to = out + thread * N;
  check_address(to, alignof(Pack<T, N>));
  *reinterpret_cast<Pack<T, N>*>(to) = values;
}

namespace {

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
