#include "backends/cuda/kernels/elementwise.h"

#include "backends/cuda/kernels/elementwise_kernels.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

namespace {

constexpr int kThreads = 256;
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
  return {dim3(blocks_for(count, std::int64_t{kThreads} * pack)), dim3(kThreads)};
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

void launch_gated_gelu(cudaStream_t stream, const GatedGeluArgs& args) {
  const std::int64_t count = args.x.elements();
  with_activation_type(args.out.dtype(), [&](auto out_tag) {
    using Out = typename decltype(out_tag)::type;
    const bool wide = aligned({args.gate, args.x, args.out});
    launch(stream, flat_shape(count, wide ? kWide : 1),
           wide ? gated_gelu_kernel<Out, kWide> : gated_gelu_kernel<Out, 1>, as_vector(args.gate),
           as_vector(args.x), reinterpret_cast<Out*>(args.out.data()), count);
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
  constexpr int kPack = 4;
  launch(stream, flat_shape(count, wide ? kPack : 1),
         wide ? linear_combination_kernel<kPack> : linear_combination_kernel<1>, terms, args.out.as<float>(),
         count);
}

void launch_gated_residual(cudaStream_t stream, const GatedResidualArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.y, args.gate}, kWide);
  const std::int64_t packs = width / (wide ? kWide : 1);
  const auto threads = static_cast<unsigned>(packs >= kThreads ? kThreads : (packs + 31) / 32 * 32);
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
  const unsigned blocks = blocks_for(elements, std::int64_t{kThreads} * 4);
  with_activation_type(x.dtype(), [&](auto tag) {
    using X = typename decltype(tag)::type;
    launch(stream, {dim3(blocks < kMostBlocks ? blocks : static_cast<unsigned>(kMostBlocks)), dim3(kThreads)},
           count_non_finite_kernel<X>, reinterpret_cast<const X*>(values.data()), elements, count);
  });
}

}  // namespace wan::cuda
