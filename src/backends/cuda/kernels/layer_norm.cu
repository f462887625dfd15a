// Layer norm over rows, with weight and bias, or modulated by the scale and shift of a row's segment.

#include "backends/cuda/kernels/rows.h"

#include "backends/cuda/kernels/row_kernels.h"
#include "backends/cuda/kernels/row_launch.h"
#include "backends/cuda/kernels/segments.h"

namespace wan::cuda {

struct LayerNormRows {
  const float* x;
  const float* factor;  // weight, or scale with its segments; nullptr for ones
  const float* addend;  // bias, or shift; nullptr with factor
  std::int64_t factor_stride;
  std::int64_t addend_stride;
  float one;  // added to factor: 1 for a scale
  float eps;
  std::int64_t width;
};

/// Normalizes and modulates columns [c, c + N) of a row.
template <int N>
__device__ inline void normalize_pack(const LayerNormRows& rows, std::int64_t segment, std::int64_t c,
                                      float mean, float inverse, float (&values)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = (values[i] - mean) * inverse;
  if (rows.factor == nullptr) return;
  float factors[N];
  float addends[N];
  load_pack<N>(rows.factor + segment * rows.factor_stride + c, factors);
  load_pack<N>(rows.addend + segment * rows.addend_stride + c, addends);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = values[i] * (rows.one + factors[i]) + addends[i];
}

template <typename Out, int kThreads, int N>
__global__ void layer_norm_kernel(LayerNormRows rows, Out* out, SegmentGroup group) {
  const RowShare<kThreads, N> share;
  if (share.row >= group.rows) return;  // whole warps
  const std::int64_t row = group.first_row + share.row;
  const float* x = rows.x + row * rows.width;
  const auto width = static_cast<float>(rows.width);
  const float mean = row_total<kThreads, N>(x, share.first, rows.width) / width;
  const float variance = row_squares<kThreads, N>(x, share.first, rows.width, mean) / width;
  const float inverse = 1.0f / sqrtf(variance + rows.eps);
  const std::int64_t segment = group.segment_of(row);
  for (std::int64_t c = share.first; c < rows.width; c += share.kStep) {
    float values[N];
    load_pack<N>(x + c, values);
    normalize_pack<N>(rows, segment, c, mean, inverse, values);
    store_pack<N>(out + row * rows.width + c, values);
  }
}

template <typename Out, int N>
__global__ void held_layer_norm_kernel(LayerNormRows rows, Out* out, SegmentGroup group) {
  const std::int64_t row = group.first_row + blockIdx.x;
  HeldRow<kHeldThreads, N, kHeldPacks> held(rows.x + row * rows.width, static_cast<int>(threadIdx.x) * N,
                                            static_cast<int>(rows.width));
  const auto width = static_cast<float>(rows.width);
  const float mean = row_sum<kHeldThreads>(held.total()) / width;
  const float variance = row_sum<kHeldThreads>(held.squares(mean)) / width;
  const float inverse = 1.0f / sqrtf(variance + rows.eps);
  const std::int64_t segment = group.segment_of(row);
  held.for_each([&](int c, float(&pack)[N]) {
    normalize_pack<N>(rows, segment, c, mean, inverse, pack);
    store_pack<N>(out + row * rows.width + c, pack);
  });
}

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

}  // namespace wan::cuda
