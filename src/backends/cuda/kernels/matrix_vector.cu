// A product with one row of x: a block a few rows of the weight, which is read once, many pieces ahead of their use.

#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kVectorThreads = 128;
constexpr int kVectorRows = 2;   // of a block: x is read once for them
constexpr int kVectorPack = 8;   // elements: 16 bytes of the weight
constexpr int kVectorAhead = 4;  // packs of a row that a thread has under way at once

template <typename X, typename Out>
__global__ void matrix_vector_kernel(const X* x, const BFloat16* weight, Vector bias, ActivationKind kind,
                                     Out* out, std::int64_t rows, int width) {
  constexpr int kWarps = kVectorThreads / 32;
  constexpr int kStep = kVectorThreads * kVectorPack;
  __shared__ float of_warps[kVectorRows][kWarps];
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) * kVectorRows;
  const BFloat16* from[kVectorRows];
#pragma unroll
  for (int r = 0; r < kVectorRows; ++r)  // past the end the last row again
    from[r] = weight + (first_row + r < rows ? first_row + r : rows - 1) * width;
  float sums[kVectorRows][kVectorPack] = {};
  for (int first = thread * kVectorPack; first < width; first += kStep * kVectorAhead) {
    Pack<BFloat16, kVectorPack> packs[kVectorRows][kVectorAhead];
#pragma unroll
    for (int u = 0; u < kVectorAhead; ++u)
      if (first + u * kStep < width) {
#pragma unroll
        for (int r = 0; r < kVectorRows; ++r) {
          check_address(from[r] + first + u * kStep, alignof(Pack<BFloat16, kVectorPack>));
          packs[r][u] = *reinterpret_cast<const Pack<BFloat16, kVectorPack>*>(from[r] + first + u * kStep);
        }
      }
#pragma unroll
    for (int u = 0; u < kVectorAhead; ++u)
      if (first + u * kStep < width) {
        float values[kVectorPack];
        load_pack<kVectorPack>(x + first + u * kStep, values);
#pragma unroll
        for (int i = 0; i < kVectorPack; ++i) {
          const float value = to_f32(from_f32<BFloat16>(values[i]));
#pragma unroll
          for (int r = 0; r < kVectorRows; ++r) sums[r][i] += value * to_f32(packs[r][u].values[i]);
        }
      }
  }
#pragma unroll
  for (int r = 0; r < kVectorRows; ++r) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kVectorPack; ++i) sum += sums[r][i];
    sum = warp_sum(sum);
    if (thread % 32 == 0) of_warps[r][thread / 32] = sum;
  }
  __syncthreads();
  const std::int64_t row = first_row + thread;
  if (thread >= kVectorRows || row >= rows) return;
  float sum = 0.0f;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += of_warps[thread][warp];
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
      launch(stream, {dim3(blocks_for(rows, kVectorRows)), dim3(kVectorThreads)},
             matrix_vector_kernel<X, Out>, reinterpret_cast<const X*>(args.x.data()),
             reinterpret_cast<const BFloat16*>(args.weight.data()), as_vector(args.bias), args.activation,
             reinterpret_cast<Out*>(args.out.data()), rows, static_cast<int>(args.x.dim(1)));
    });
  });
}

}  // namespace wan::cuda
