// Rotation of a head's two halves, a pair a thread.

#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

struct HalfPairs {
  std::int64_t count;  // in all
  int heads, half;
  std::int64_t x_row, x_head, out_row, out_head;  // strides
};

template <typename X, typename Out>
__global__ void rotate_halves_kernel(const X* x, const float* table, Out* out, HalfPairs p) {
  const std::int64_t pair = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pair >= p.count) return;
  const auto i = static_cast<int>(pair % p.half);
  const auto head = static_cast<int>(pair / p.half % p.heads);
  const std::int64_t row = pair / p.half / p.heads;
  const X* from = x + row * p.x_row + head * p.x_head + i;
  Out* to = out + row * p.out_row + head * p.out_head + i;
  const float cosine = table[(row * p.half + i) * 2];
  const float sine = table[(row * p.half + i) * 2 + 1];
  const float first = to_f32(from[0]);
  const float second = to_f32(from[p.half]);
  to[0] = from_f32<Out>(first * cosine - second * sine);
  to[p.half] = from_f32<Out>(second * cosine + first * sine);
}

void launch_rotate_halves(cudaStream_t stream, const RotateHalvesArgs& args) {
  constexpr int kThreads = 256;
  if (args.x.elements() == 0) return;
  const HalfPairs pairs{.count = args.x.elements() / 2,
                        .heads = static_cast<int>(args.x.dim(1)),
                        .half = static_cast<int>(args.x.dim(2) / 2),
                        .x_row = args.x.stride(0),
                        .x_head = args.x.stride(1),
                        .out_row = args.out.stride(0),
                        .out_head = args.out.stride(1)};
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      launch(stream, {dim3(blocks_for(pairs.count, kThreads)), dim3(kThreads)}, rotate_halves_kernel<X, Out>,
             reinterpret_cast<const X*>(args.x.data()), args.table.as<float>(),
             reinterpret_cast<Out*>(args.out.data()), pairs);
    });
  });
}

}  // namespace wan::cuda
