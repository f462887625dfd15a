// The VAEs' norm over channels, and its activation.

#include "backends/cuda/kernels/rows.h"

#include "backends/cuda/kernels/row_kernels.h"
#include "backends/cuda/kernels/row_launch.h"

namespace wan::cuda {

template <typename X, typename Out, int kThreads, int N>
__global__ void channel_norm_kernel(const X* x, std::int64_t x_stride, const float* gamma,
                                    ActivationKind kind, Out* out, std::int64_t out_stride, std::int64_t rows,
                                    std::int64_t width) {
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x + share.row * x_stride;
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float factor = sqrtf(static_cast<float>(width)) / fmaxf(sqrtf(squares), 1e-12f);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float gammas[N];
    load_pack<N>(from + c, values);
    load_pack<N>(gamma + c, gammas);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i] * factor * gammas[i]);
    store_pack<N>(out + share.row * out_stride + c, values);
  }
}

/// kThreads lanes a row. Lanes past the last row take part in the sums.
template <typename X, typename Out, int kThreads, int N>
__global__ void held_channel_norm_kernel(const X* x, std::int64_t x_stride, const float* gamma,
                                         ActivationKind kind, Out* out, std::int64_t out_stride,
                                         std::int64_t rows, int width) {
  const RowShare<kThreads, N> share;
  HeldRow<kThreads, N, kPacksOfALane> held(x + share.row * x_stride, static_cast<int>(share.first),
                                           share.row < rows ? width : 0);
  const float squares = lane_sum<kThreads>(held.squares(0.0f));
  const float factor = sqrtf(static_cast<float>(width)) / fmaxf(sqrtf(squares), 1e-12f);
  held.for_each([&](int c, float(&pack)[N]) {
    float gammas[N];
    load_pack<N>(gamma + c, gammas);
#pragma unroll
    for (int i = 0; i < N; ++i) pack[i] = activate(kind, pack[i] * factor * gammas[i]);
    store_pack<N>(out + share.row * out_stride + c, pack);
  });
}

namespace {

/// visit(Constant<lanes a row>()): the fewest, 4 to a warp, that hold a row's packs in `packs_a_lane` each.
template <typename Visit>
void with_row_lanes(std::int64_t packs, int packs_a_lane, Visit&& visit) {
  if (packs <= 4 * packs_a_lane) return visit(Constant<4>());
  if (packs <= 8 * packs_a_lane) return visit(Constant<8>());
  if (packs <= 16 * packs_a_lane) return visit(Constant<16>());
  WAN_ASSERT(packs <= 32 * packs_a_lane);
  visit(Constant<32>());
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
