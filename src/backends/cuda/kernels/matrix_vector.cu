// A product with one row of x: a warp a row of the weight, which is read once, several pieces ahead of their use.

#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kVectorWarps = 4;  // of a block
constexpr int kVectorPack = 8;   // elements: 16 bytes of the weight
constexpr int kVectorAhead = 4;  // packs of a lane that are under way at once

template <typename X, typename Out>
__global__ void matrix_vector_kernel(const X* x, const BFloat16* weight, Vector bias, ActivationKind kind,
                                     Out* out, std::int64_t rows, int width) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kVectorWarps + threadIdx.x / 32;
  if (row >= rows) return;  // whole warps
  const BFloat16* from = weight + row * width;
  float sums[kVectorPack] = {};
  constexpr int kStep = 32 * kVectorPack;
  for (int first = lane * kVectorPack; first < width; first += kStep * kVectorAhead) {
    Pack<BFloat16, kVectorPack> packs[kVectorAhead];
#pragma unroll
    for (int u = 0; u < kVectorAhead; ++u)
      if (first + u * kStep < width) {
        check_address(from + first + u * kStep, alignof(Pack<BFloat16, kVectorPack>));
        packs[u] = *reinterpret_cast<const Pack<BFloat16, kVectorPack>*>(from + first + u * kStep);
      }
#pragma unroll
    for (int u = 0; u < kVectorAhead; ++u)
      if (first + u * kStep < width) {
        float values[kVectorPack];
        load_pack<kVectorPack>(x + first + u * kStep, values);
#pragma unroll
        for (int i = 0; i < kVectorPack; ++i)
          sums[i] += to_f32(from_f32<BFloat16>(values[i])) * to_f32(packs[u].values[i]);
      }
  }
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectorPack; ++i) sum += sums[i];
  sum = warp_sum(sum);
  if (lane != 0) return;
  if (bias.data != nullptr) {
    float addend[1];
    bias.load(row, addend);
    sum += addend[0];
  }
  out[row] = from_f32<Out>(activate(kind, sum));
}

bool is_matrix_vector(const LinearArgs& args) {
  return args.x.dim(0) == 1 && args.weight.dtype() == DType::kBF16 && args.x.dim(1) <= 0x3fffffff &&
         packs_fit({args.x, args.weight}, kVectorPack);
}

void launch_matrix_vector(cudaStream_t stream, const LinearArgs& args) {
  const std::int64_t rows = args.weight.dim(0);
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      launch(stream, {dim3(blocks_for(rows, kVectorWarps)), dim3(32 * kVectorWarps)},
             matrix_vector_kernel<X, Out>, reinterpret_cast<const X*>(args.x.data()),
             reinterpret_cast<const BFloat16*>(args.weight.data()), as_vector(args.bias), args.activation,
             reinterpret_cast<Out*>(args.out.data()), rows, static_cast<int>(args.x.dim(1)));
    });
  });
}

}  // namespace wan::cuda
