// Element-wise kernels. N: elements a thread moves at once; with 1 any address will do.

#include "backends/cuda/kernels/elementwise.h"

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"
#include "backends/cuda/kernels/segments.h"

namespace wan::cuda {

__device__ inline std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// This thread's N elements of a flat array; the last thread's may be fewer and no whole pack.
template <int N>
struct Share {
  std::int64_t first;
  std::int64_t count;
  __device__ explicit Share(std::int64_t total) : first(global_thread() * N), count(total - first) {}
  __device__ bool whole() const { return count >= N; }
};

template <typename X, typename Out, int N>
__device__ inline void activate_pack(const X* x, Out* out, ActivationKind kind) {
  float values[N];
  load_pack<N>(x, values);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i]);
  store_pack<N>(out, values);
}

template <typename X, typename Out, int N>
__global__ void activation_kernel(const X* x, Out* out, std::int64_t count, ActivationKind kind) {
  const Share<N> share(count);
  if (share.whole()) return activate_pack<X, Out, N>(x + share.first, out + share.first, kind);
  for (std::int64_t i = share.first; i < count; ++i) activate_pack<X, Out, 1>(x + i, out + i, kind);
}

template <typename Out, int N>
__device__ inline void gated_activation_pack(ActivationKind kind, const Vector& gate, const Vector& x,
                                             Out* out, std::int64_t at) {
  float gates[N];
  float values[N];
  gate.load(at, gates);
  x.load(at, values);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] *= activate(kind, gates[i]);
  store_pack<N>(out + at, values);
}

template <typename Out, int N>
__global__ void gated_activation_kernel(ActivationKind kind, Vector gate, Vector x, Out* out,
                                        std::int64_t count) {
  const Share<N> share(count);
  if (share.whole()) return gated_activation_pack<Out, N>(kind, gate, x, out, share.first);
  for (std::int64_t i = share.first; i < count; ++i) gated_activation_pack<Out, 1>(kind, gate, x, out, i);
}

struct Terms {
  static constexpr int kMost = 8;
  const float* x[kMost];
  float coefficients[kMost];
  int count;
};

template <int N>
__device__ inline void combine_pack(const Terms& terms, float* out, std::int64_t at) {
  float sums[N];
  float values[N];
  load_pack<N>(terms.x[0] + at, values);
#pragma unroll
  for (int i = 0; i < N; ++i) sums[i] = terms.coefficients[0] * values[i];
  for (int t = 1; t < terms.count; ++t) {
    load_pack<N>(terms.x[t] + at, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += terms.coefficients[t] * values[i];
  }
  store_pack<N>(out + at, sums);
}

template <int N>
__global__ void linear_combination_kernel(Terms terms, float* out, std::int64_t count) {
  const Share<N> share(count);
  if (share.whole()) return combine_pack<N>(terms, out, share.first);
  for (std::int64_t i = share.first; i < count; ++i) combine_pack<1>(terms, out, i);
}

/// A block a row. gate: nullptr for ones.
template <typename X, typename Y, int N>
__global__ void gated_residual_kernel(X* x, const Y* y, const float* gate, std::int64_t gate_stride,
                                      std::int64_t width, SegmentGroup group) {
  const std::int64_t row = group.first_row + blockIdx.x;
  const float* gates = gate != nullptr ? gate + group.segment_of(row) * gate_stride : nullptr;
  for (std::int64_t c = std::int64_t{threadIdx.x} * N; c < width; c += std::int64_t{blockDim.x} * N) {
    float sums[N];
    float branch[N];
    load_pack<N>(x + row * width + c, sums);
    load_pack<N>(y + row * width + c, branch);
    if (gates != nullptr) {
      float factors[N];
      load_pack<N>(gates + c, factors);
#pragma unroll
      for (int i = 0; i < N; ++i) branch[i] *= factors[i];
    }
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += branch[i];
    store_pack<N>(x + row * width + c, sums);
  }
}

/// count: packs in all. Index: 32 bits where count allows, for divisions by run-time numbers take long.
template <typename X, typename Out, typename Index, int N>
__global__ void finish_rows_kernel(const X* x, std::int64_t x_stride, Vector bias, ActivationKind kind,
                                   Out* out, std::int64_t out_stride, std::int64_t count,
                                   std::int64_t width) {
  const std::int64_t pack = global_thread();
  if (pack >= count) return;
  const auto packs = static_cast<Index>(width / N);
  const Index row_index = static_cast<Index>(pack) / packs;
  const auto row = static_cast<std::int64_t>(row_index);
  const std::int64_t column = static_cast<std::int64_t>(static_cast<Index>(pack) - row_index * packs) * N;
  float values[N];
  load_pack<N>(x + row * x_stride + column, values);
  if (bias.data != nullptr) {
    float addend[N];
    bias.load(column, addend);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += addend[i];
  }
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i]);
  store_pack<N>(out + row * out_stride + column, values);
}

/// count: packs in all; frame: elements of one; strides are those of frames. Index: as above.
template <typename X, typename Out, typename Index, int N>
__global__ void finish_frames_kernel(const X* x, std::int64_t x_stride, Vector bias, Vector residual,
                                     std::int64_t residual_stride, Out* out, std::int64_t out_stride,
                                     std::int64_t count, std::int64_t frame, std::int64_t channels) {
  const std::int64_t pack = global_thread();
  if (pack >= count) return;
  const auto packs = static_cast<Index>(frame / N);
  const Index frame_index = static_cast<Index>(pack) / packs;
  const Index pack_of_frame = static_cast<Index>(pack) - frame_index * packs;
  const auto t = static_cast<std::int64_t>(frame_index);
  const std::int64_t at = static_cast<std::int64_t>(pack_of_frame) * N;
  float values[N];
  float addend[N];
  load_pack<N>(x + t * x_stride + at, values);
  if (bias.data != nullptr) {
    // Only where packs lie within pixels are there packs at all.
    bias.load(static_cast<std::int64_t>(pack_of_frame % static_cast<Index>(channels / N)) * N, addend);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += addend[i];
  }
  if (residual.data != nullptr) {
    residual.load(t * residual_stride + at, addend);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += addend[i];
  }
  store_pack<N>(out + t * out_stride + at, values);
}

template <typename X>
__global__ void count_non_finite_kernel(const X* x, std::int64_t count, unsigned long long* total) {
  float found = 0.0f;  // exact up to 2^24, more than a thread sees
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = global_thread(); i < count; i += step) {
    // Exponent bits all ones; a comparison could be folded away by a compiler told that there is no infinity.
    if ((__float_as_uint(to_f32(x[i])) & 0x7f800000u) == 0x7f800000u) found += 1.0f;
  }
  found = warp_sum(found);
  if (threadIdx.x % 32 == 0 && found > 0.0f) atomicAdd(total, static_cast<unsigned long long>(found));
}

namespace {

constexpr int kWide = 8;  // elements a thread: 16 bytes of bf16, twice 16 of f32

TensorView flat(const TensorView& view) {
  return view.reshape({view.elements()});
}

/// Flat kernels do a rest that is no whole pack themselves: only the address counts.
bool aligned(std::initializer_list<TensorView> views) {
  for (const TensorView& view : views)
    if (reinterpret_cast<std::uintptr_t>(view.data()) % 16 != 0) return false;
  return true;
}

LaunchShape flat_shape(std::int64_t count, int pack) {
  return {dim3(blocks_for(count, std::int64_t{kFlatThreads} * pack)), dim3(kFlatThreads)};
}

}  // namespace

void launch_activation(cudaStream_t stream, const ActivationArgs& args) {
  const std::int64_t count = args.x.elements();
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      const bool wide = aligned({args.x, args.out});
      launch(stream, flat_shape(count, wide ? kWide : 1),
             wide ? activation_kernel<X, Out, kWide> : activation_kernel<X, Out, 1>,
             reinterpret_cast<const X*>(args.x.data()), reinterpret_cast<Out*>(args.out.data()), count,
             args.kind);
    });
  });
}

void launch_gated_activation(cudaStream_t stream, const GatedActivationArgs& args) {
  const std::int64_t count = args.x.elements();
  with_activation_type(args.out.dtype(), [&](auto out_tag) {
    using Out = typename decltype(out_tag)::type;
    const bool wide = aligned({args.gate, args.x, args.out});
    launch(stream, flat_shape(count, wide ? kWide : 1),
           wide ? gated_activation_kernel<Out, kWide> : gated_activation_kernel<Out, 1>, args.kind,
           as_vector(args.gate), as_vector(args.x), reinterpret_cast<Out*>(args.out.data()), count);
  });
}

void launch_linear_combination(cudaStream_t stream, const LinearCombinationArgs& args) {
  const std::int64_t count = args.out.elements();
  Terms terms{};
  terms.count = static_cast<int>(args.terms.size());
  bool wide = aligned({args.out});
  for (int i = 0; i < terms.count; ++i) {
    const auto& term = args.terms[static_cast<std::size_t>(i)];
    terms.x[i] = term.x.as<float>();
    terms.coefficients[i] = static_cast<float>(term.coefficient);
    wide = wide && aligned({term.x});
  }
  constexpr int kTogether = 4;
  launch(stream, flat_shape(count, wide ? kTogether : 1),
         wide ? linear_combination_kernel<kTogether> : linear_combination_kernel<1>, terms,
         args.out.as<float>(), count);
}

void launch_gated_residual(cudaStream_t stream, const GatedResidualArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.y, args.gate}, kWide);
  const std::int64_t packs = width / (wide ? kWide : 1);
  const auto threads = static_cast<unsigned>(packs >= kFlatThreads ? kFlatThreads : (packs + 31) / 32 * 32);
  for_each_segment_group(args.gate ? args.segments : RowSegments{}, rows, [&](const SegmentGroup& group) {
    with_activation_type(args.x.dtype(), [&](auto x_tag) {
      with_activation_type(args.y.dtype(), [&](auto y_tag) {
        using X = typename decltype(x_tag)::type;
        using Y = typename decltype(y_tag)::type;
        launch(stream, {dim3(static_cast<unsigned>(group.rows)), dim3(threads)},
               wide ? gated_residual_kernel<X, Y, kWide> : gated_residual_kernel<X, Y, 1>,
               reinterpret_cast<X*>(args.x.data()), reinterpret_cast<const Y*>(args.y.data()),
               args.gate ? args.gate.as<float>() : nullptr, args.gate ? row_stride(args.gate) : 0, width,
               group);
      });
    });
  });
}

void launch_finish_rows(cudaStream_t stream, const FinishRowsArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.bias, args.out}, kWide);
  const std::int64_t count = rows * width / (wide ? kWide : 1);
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      with_index_type(count, [&](auto index_tag) {
        using Index = typename decltype(index_tag)::type;
        launch(stream, flat_shape(count, 1),
               wide ? finish_rows_kernel<X, Out, Index, kWide> : finish_rows_kernel<X, Out, Index, 1>,
               reinterpret_cast<const X*>(args.x.data()), row_stride(args.x), as_vector(args.bias),
               args.activation, reinterpret_cast<Out*>(args.out.data()), row_stride(args.out), count, width);
      });
    });
  });
}

void launch_finish_frames(cudaStream_t stream, const FinishFramesArgs& args) {
  const std::int64_t frames = args.out.dim(0);
  const std::int64_t frame = args.out.dim(1) * args.out.dim(2) * args.out.dim(3);
  const bool wide = packs_fit({args.x, args.bias, args.residual, args.out}, kWide);
  const std::int64_t count = frames * frame / (wide ? kWide : 1);
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      with_index_type(count, [&](auto index_tag) {
        using Index = typename decltype(index_tag)::type;
        launch(stream, flat_shape(count, 1),
               wide ? finish_frames_kernel<X, Out, Index, kWide> : finish_frames_kernel<X, Out, Index, 1>,
               reinterpret_cast<const X*>(args.x.data()), args.x.stride(0), as_vector(args.bias),
               as_vector(args.residual), args.residual ? args.residual.stride(0) : 0,
               reinterpret_cast<Out*>(args.out.data()), args.out.stride(0), count, frame, args.out.dim(3));
      });
    });
  });
}

void launch_count_non_finite(cudaStream_t stream, const TensorView& x, unsigned long long* count) {
  const TensorView values = flat(x);
  const std::int64_t elements = values.elements();
  constexpr std::int64_t kMostBlocks = 1024;  // each adds once to the total
  const unsigned blocks = blocks_for(elements, std::int64_t{kFlatThreads} * 4);
  with_activation_type(x.dtype(), [&](auto tag) {
    using X = typename decltype(tag)::type;
    launch(stream,
           {dim3(blocks < kMostBlocks ? blocks : static_cast<unsigned>(kMostBlocks)), dim3(kFlatThreads)},
           count_non_finite_kernel<X>, reinterpret_cast<const X*>(values.data()), elements, count);
  });
}

}  // namespace wan::cuda
