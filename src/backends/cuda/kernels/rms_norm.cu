// Root-mean-square norm over rows, and the same with rotary embedding.

#include "backends/cuda/kernels/rows.h"

#include "backends/cuda/kernels/early_launch.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/row_kernels.h"
#include "backends/cuda/kernels/row_launch.h"

namespace wan::cuda {

template <typename X, typename Out, int kThreads, int N>
__global__ void rms_norm_kernel(const X* x, std::int64_t x_stride, Vector weight, float eps, Out* out,
                                std::int64_t out_stride, std::int64_t rows, std::int64_t width) {
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x + share.row * x_stride;
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float factors[N];
    load_pack<N>(from + c, values);
    weight.load(c, factors);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] *= inverse * factors[i];
    store_pack<N>(out + share.row * out_stride + c, values);
  }
}

/// Scales columns and turns each pair of them. angles: cosine and sine of each pair.
template <int N>
__device__ inline void scale_and_turn(float inverse, const float (&factors)[N], const float (&angles)[N],
                                      float (&values)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 2) {
    const float even = values[i] * inverse * factors[i];
    const float odd = values[i + 1] * inverse * factors[i + 1];
    values[i] = even * angles[i] - odd * angles[i + 1];
    values[i + 1] = even * angles[i + 1] + odd * angles[i];
  }
}

/// N even, so that a pair never leaves its pack. table: [rows, head / 2, 2].
template <typename X, typename Out, int kThreads, int N>
__global__ void rms_norm_rope_kernel(const X* x, std::int64_t x_stride, Vector weight, float eps,
                                     const float* table, Out* out, std::int64_t out_stride, std::int64_t rows,
                                     std::int64_t width, int head) {
  static_assert(N % 2 == 0);
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x + share.row * x_stride;
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float factors[N];
    float angles[N];
    load_pack<N>(from + c, values);
    weight.load(c, factors);
    load_pack<N>(table + share.row * head + static_cast<int>(c) % head, angles);
    scale_and_turn<N>(inverse, factors, angles, values);
    store_pack<N>(out + share.row * out_stride + c, values);
  }
}

/// Root-mean-square norm and, where there is a branch [rows, width], its addition to x before, where there is a table
/// [rows, head / 2, 2], rotation after it.
template <typename X, typename Out, int N>
__global__ void held_rms_norm_kernel(X* x, std::int64_t x_stride, Vector branch, Vector weight, float eps,
                                     const float* table, int head, Out* out, std::int64_t out_stride,
                                     int width) {
  const std::int64_t row = blockIdx.x;
  await_previous();
  HeldRow<kHeldThreads, N, kHeldPacks> held(x + row * x_stride, static_cast<int>(threadIdx.x) * N, width);
  if (branch.data != nullptr)
    held.for_each([&](int c, float(&pack)[N]) {
      float added[N];
      branch.load(row * width + c, added);
#pragma unroll
      for (int i = 0; i < N; ++i) pack[i] = to_f32(from_f32<X>(pack[i] + added[i]));
      store_pack<N>(x + row * x_stride + c, pack);
    });
  const float squares = row_sum<kHeldThreads>(held.squares(0.0f));
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  held.for_each([&](int c, float(&pack)[N]) {
    float factors[N];
    weight.load(c, factors);
    if (table != nullptr) {
      float angles[N];
      load_pack<N>(table + row * head + c % head, angles);
      scale_and_turn<N>(inverse, factors, angles, pack);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) pack[i] *= inverse * factors[i];
    }
    store_pack<N>(out + row * out_stride + c, pack);
  });
}

namespace {

/// table: none, or of rms_norm_rope with heads of `head`.
struct HeldRmsNorm {
  TensorView x, weight, out;
  float eps;
  TensorView branch = {};
  TensorView table = {};
  int head = 1;
};

void launch_held_rms_norm(cudaStream_t stream, const HeldRmsNorm& args) {
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      launch_early(stream, block_each(args.x.dim(0)), held_rms_norm_kernel<X, Out, kPack>,
                   reinterpret_cast<X*>(args.x.data()), row_stride(args.x), as_vector(args.branch),
                   as_vector(args.weight), args.eps, args.table ? args.table.as<float>() : nullptr, args.head,
                   reinterpret_cast<Out*>(args.out.data()), row_stride(args.out),
                   static_cast<int>(args.x.dim(1)));
    });
  });
}

}  // namespace

void launch_rms_norm(cudaStream_t stream, const RmsNormArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const bool wide = packs_fit({args.x, args.out, args.weight, args.branch}, kPack);
  if (block_holds(wide, width))
    return launch_held_rms_norm(
        stream,
        {.x = args.x, .weight = args.weight, .out = args.out, .eps = args.eps, .branch = args.branch});
  if (args.branch) launch_gated_residual(stream, residual_of(args));
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

}  // namespace wan::cuda
