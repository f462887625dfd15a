// Products with one row of x: a block a few rows of a weight, which is read once, many pieces ahead of their use.

#include <type_traits>

#include "backends/cuda/kernels/early_launch.h"
#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

constexpr int kVectorPack = 8;  // elements: 16 bytes of the weight

/// How a block reads its rows: x is read once for them, and of each row kAhead packs of a thread are under way at once.
template <int kThreads_, int kRows_, int kAhead_>
struct VectorWay {
  static constexpr int kThreads = kThreads_;
  static constexpr int kRows = kRows_;
  static constexpr int kAhead = kAhead_;
};
using ShortRows = VectorWay<128, 2, 4>;
using LongRows = VectorWay<512, 1, 5>;  // few blocks, which would end one after another
constexpr int kLongRow = 8192;

template <typename Out>
struct VectorProduct {
  const BFloat16* weight;
  Vector bias;
  ActivationKind kind;
  Out* out;
  std::int64_t rows;
  std::int64_t first_block;
};

template <typename Out>
struct VectorProducts {
  VectorProduct<Out> each[LinearGroupArgs::kMost];
  int count;
};

/// Gated: a block has a row of each of two products, of which the first's goes through `gate` and into the second's result.
template <typename Way, typename X, typename Out, bool kGated>
__global__ void __launch_bounds__(Way::kThreads)
    matrix_vector_kernel(const X* x, VectorProducts<Out> products, ActivationKind gate, int width) {
  static_assert(!kGated || Way::kRows == 2);
  constexpr int kRows = Way::kRows;
  constexpr int kWarps = Way::kThreads / 32;
  constexpr int kStep = Way::kThreads * kVectorPack;
  __shared__ float of_warps[kRows][kWarps];
  const int thread = static_cast<int>(threadIdx.x);
  const auto block = static_cast<std::int64_t>(blockIdx.x);
  VectorProduct<Out> product = products.each[kGated ? 1 : 0];  // whose result the block gives
#pragma unroll
  for (int i = 1; i < static_cast<int>(LinearGroupArgs::kMost); ++i)
    if (!kGated && i < products.count && block >= products.each[i].first_block) product = products.each[i];
  const std::int64_t first_row = kGated ? block : (block - product.first_block) * kRows;
  const BFloat16* from[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r)
    if constexpr (kGated)
      from[r] = products.each[r].weight + block * width;
    else  // past the end the last row again
      from[r] = product.weight + (first_row + r < product.rows ? first_row + r : product.rows - 1) * width;
  await_previous();
  float sums[kRows] = {};
  for (int first = thread * kVectorPack; first < width; first += kStep * Way::kAhead) {
    Pack<BFloat16, kVectorPack> packs[kRows][Way::kAhead];
#pragma unroll
    for (int u = 0; u < Way::kAhead; ++u)
      if (first + u * kStep < width) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          check_address(from[r] + first + u * kStep, alignof(Pack<BFloat16, kVectorPack>));
          packs[r][u] = *reinterpret_cast<const Pack<BFloat16, kVectorPack>*>(from[r] + first + u * kStep);
        }
      }
#pragma unroll
    for (int u = 0; u < Way::kAhead; ++u)
      if (first + u * kStep < width) {
        float values[kVectorPack];
        load_pack<kVectorPack>(x + first + u * kStep, values);
#pragma unroll
        for (int i = 0; i < kVectorPack; ++i) {
          const float value = std::is_same_v<X, BFloat16> ? values[i] : to_f32(from_f32<BFloat16>(values[i]));
#pragma unroll
          for (int r = 0; r < kRows; ++r) sums[r] += value * to_f32(packs[r][u].values[i]);
        }
      }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (thread % 32 == 0) of_warps[r][thread / 32] = sum;
  }
  __syncthreads();
  const std::int64_t row = first_row + thread;
  if (thread >= (kGated ? 1 : kRows) || row >= product.rows) return;
  const auto result = [&](int r, const VectorProduct<Out>& of) {
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) sum += of_warps[r][warp];
    if (of.bias.data != nullptr) {
      float addend[1];
      of.bias.load(row, addend);
      sum += addend[0];
    }
    return activate(of.kind, sum);
  };
  if constexpr (kGated)
    product.out[row] = from_f32<Out>(activate(gate, result(0, products.each[0])) * result(1, product));
  else
    product.out[row] = from_f32<Out>(result(thread, product));
}

bool is_matrix_vector(const LinearArgs& args) {
  return args.x.dim(0) == 1 && args.weight.dtype() == DType::kBF16 && args.x.dim(1) <= 0x3fffffff &&
         packs_fit({args.x, args.weight}, kVectorPack);
}

bool are_matrix_vectors(const LinearGroupArgs& args) {
  bool all = true;
  args.for_each([&](const LinearArgs& product) {
    all = all && is_matrix_vector(product) && product.out.dtype() == args.products[0].out.dtype();
  });
  return all && !(args.is_gated() && args.products[0].x.dim(1) >= kLongRow);
}

void launch_matrix_vectors(cudaStream_t stream, const LinearGroupArgs& args) {
  const TensorView& x = args.products[0].x;
  const auto launch_way = [&]<typename Way, bool kGated>(Way, std::bool_constant<kGated>) {
    with_activation_type(x.dtype(), [&](auto x_tag) {
      with_activation_type(args.products[0].out.dtype(), [&](auto out_tag) {
        using X = typename decltype(x_tag)::type;
        using Out = typename decltype(out_tag)::type;
        VectorProducts<Out> products{};
        std::int64_t blocks = 0;
        args.for_each([&](const LinearArgs& product) {
          const std::int64_t rows = product.weight.dim(0);
          products.each[products.count++] = {
              .weight = reinterpret_cast<const BFloat16*>(product.weight.data()),
              .bias = as_vector(product.bias),
              .kind = product.activation,
              .out = reinterpret_cast<Out*>(product.out.data()),
              .rows = rows,
              .first_block = blocks};
          blocks += (rows + Way::kRows - 1) / Way::kRows;
        });
        if (kGated) blocks = products.each[1].rows;
        launch_early(stream, {dim3(blocks_for(blocks, 1)), dim3(Way::kThreads)},
                     matrix_vector_kernel<Way, X, Out, kGated>, reinterpret_cast<const X*>(x.data()),
                     products, args.gate, static_cast<int>(x.dim(1)));
      });
    });
  };
  if (args.is_gated()) return launch_way(ShortRows(), std::true_type());
  if (x.dim(1) < kLongRow) return launch_way(ShortRows(), std::false_type());
  launch_way(LongRows(), std::false_type());
}

}  // namespace wan::cuda
