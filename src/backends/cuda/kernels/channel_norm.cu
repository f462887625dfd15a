// The VAEs' norm over channels, and its activation.

#include "backends/cuda/kernels/rows.h"

#include "backends/cuda/kernels/row_kernels.h"
#include "backends/cuda/kernels/row_launch.h"

namespace wan::cuda {

/// Rows of one of the blockIdx.y-th of M groups: [N, C] or [M, N, C].
template <typename T>
struct PixelRows {
  T* data;
  std::int64_t group_stride;
  std::int64_t stride;

  __device__ T* row(std::int64_t row) const { return data + blockIdx.y * group_stride + row * stride; }
};

template <typename X, typename Out, int kThreads, int N>
__global__ void channel_norm_kernel(PixelRows<const X> x, const float* gamma, ActivationKind kind,
                                    PixelRows<Out> out, std::int64_t rows, std::int64_t width) {
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x.row(share.row);
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float factor = sqrtf(static_cast<float>(width)) / fmaxf(sqrtf(squares), 1e-12f);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float gammas[N];
    load_pack<N>(from + c, values);
    load_pack<N>(gamma + c, gammas);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i] * factor * gammas[i]);
    store_pack<N>(out.row(share.row) + c, values);
  }
}

/// kThreads lanes a row. Lanes past the last row take part in the sums.
template <typename X, typename Out, int kThreads, int N>
__global__ void held_channel_norm_kernel(PixelRows<const X> x, const float* gamma, ActivationKind kind,
                                         PixelRows<Out> out, std::int64_t rows, int width) {
  const RowShare<kThreads, N> share;
  HeldRow<kThreads, N, kPacksOfALane> held(x.row(share.row), static_cast<int>(share.first),
                                           share.row < rows ? width : 0);
  const float squares = lane_sum<kThreads>(held.squares(0.0f));
  const float factor = sqrtf(static_cast<float>(width)) / fmaxf(sqrtf(squares), 1e-12f);
  held.for_each([&](int c, float(&pack)[N]) {
    float gammas[N];
    load_pack<N>(gamma + c, gammas);
#pragma unroll
    for (int i = 0; i < N; ++i) pack[i] = activate(kind, pack[i] * factor * gammas[i]);
    store_pack<N>(out.row(share.row) + c, pack);
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

template <typename T>
PixelRows<T> pixel_rows(const TensorView& view) {
  return {reinterpret_cast<T*>(view.data()), view.rank() == 3 ? view.stride(0) : 0,
          view.stride(view.rank() - 2)};
}

/// `shape` for one group of rows, for all of them.
LaunchShape for_groups(LaunchShape shape, const TensorView& view) {
  if (view.rank() == 3) shape.grid.y = static_cast<unsigned>(view.dim(0));
  return shape;
}

void launch_held_channel_norm(cudaStream_t stream, const ChannelNormArgs& args) {
  constexpr int kThreads = 256;
  const std::int64_t rows = args.x.dim(-2);
  const auto width = static_cast<int>(args.x.dim(-1));
  with_row_lanes(width / kPack, kPacksOfALane, [&](auto lanes) {
    with_activation_type(args.x.dtype(), [&](auto x_tag) {
      with_activation_type(args.out.dtype(), [&](auto out_tag) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, for_groups({dim3(blocks_for(rows, kThreads / lanes())), dim3(kThreads)}, args.x),
               held_channel_norm_kernel<X, Out, lanes(), kPack>, pixel_rows<const X>(args.x),
               args.gamma.as<float>(), args.activation, pixel_rows<Out>(args.out), rows, width);
      });
    });
  });
}

}  // namespace

void launch_channel_norm(cudaStream_t stream, const ChannelNormArgs& args) {
  constexpr std::int64_t kMostGroups = 65535;  // of a launch
  if (args.x.rank() == 3 && args.x.dim(0) > kMostGroups) {
    for (std::int64_t first = 0; first < args.x.dim(0); first += kMostGroups) {
      const std::int64_t last = std::min(first + kMostGroups, args.x.dim(0));
      launch_channel_norm(stream, {args.x.slice(0, first, last), args.gamma, args.activation,
                                   args.out.slice(0, first, last)});
    }
    return;
  }
  const std::int64_t rows = args.x.dim(-2);
  const std::int64_t width = args.x.dim(-1);
  const bool wide = packs_fit({args.x, args.out, args.gamma}, kPack);
  if (wide && width <= kPack * kWarpRow * kPacksOfALane) return launch_held_channel_norm(stream, args);
  with_row_kernel<1>(
      args.x.dtype(), args.out.dtype(), wide, width, [&](auto x_tag, auto out_tag, auto pack, auto threads) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, for_groups(row_shape<threads()>(rows), args.x),
               channel_norm_kernel<X, Out, threads(), pack()>, pixel_rows<const X>(args.x),
               args.gamma.as<float>(), args.activation, pixel_rows<Out>(args.out), rows, width);
      });
}

}  // namespace wan::cuda
