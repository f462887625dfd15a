// Rotation of a head's two halves, a pair a thread.

#include "backends/cuda/kernels/early_launch.h"
#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

struct HalfPairs {
  const void* x;
  void* out;
  std::int64_t count;  // in all
  int heads;
  std::int64_t x_row, x_head, out_row, out_head;  // strides
};

/// also: as many pairs of heads that are turned in place, or none.
template <typename X, typename Out>
__global__ void rotate_halves_kernel(const float* table, int half, HalfPairs pairs, HalfPairs also) {
  std::int64_t pair = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const auto turn = [&]<typename From, typename To>(const HalfPairs& p, const From*, To*) {
    const auto i = static_cast<int>(pair % half);
    const auto head = static_cast<int>(pair / half % p.heads);
    const std::int64_t row = pair / half / p.heads;
    const From* from = static_cast<const From*>(p.x) + row * p.x_row + head * p.x_head + i;
    To* to = static_cast<To*>(p.out) + row * p.out_row + head * p.out_head + i;
    const float cosine = table[(row * half + i) * 2];
    const float sine = table[(row * half + i) * 2 + 1];
    const float first = to_f32(from[0]);
    const float second = to_f32(from[half]);
    to[0] = from_f32<To>(first * cosine - second * sine);
    to[half] = from_f32<To>(second * cosine + first * sine);
  };
  await_previous();
  if (pair < pairs.count) return turn(pairs, static_cast<const X*>(nullptr), static_cast<Out*>(nullptr));
  pair -= pairs.count;
  if (pair < also.count) turn(also, static_cast<const X*>(nullptr), static_cast<X*>(nullptr));
}

namespace {

HalfPairs pairs_of(const TensorView& x, const TensorView& out) {
  return {.x = x.data(),
          .out = out.data(),
          .count = x.elements() / 2,
          .heads = static_cast<int>(x.dim(1)),
          .x_row = x.stride(0),
          .x_head = x.stride(1),
          .out_row = out.stride(0),
          .out_head = out.stride(1)};
}

}  // namespace

void launch_rotate_halves(cudaStream_t stream, const RotateHalvesArgs& args) {
  constexpr int kThreads = 256;
  if (args.also && args.also.dtype() != args.x.dtype()) {
    launch_rotate_halves(stream, rotation_of_also(args));
    return launch_rotate_halves(stream, {.x = args.x, .table = args.table, .out = args.out});
  }
  const HalfPairs pairs = pairs_of(args.x, args.out);
  const HalfPairs also = args.also ? pairs_of(args.also, args.also) : HalfPairs{};
  if (pairs.count + also.count == 0) return;
  with_activation_type(args.x.dtype(), [&](auto x_tag) {
    with_activation_type(args.out.dtype(), [&](auto out_tag) {
      using X = typename decltype(x_tag)::type;
      using Out = typename decltype(out_tag)::type;
      launch_early(stream, {dim3(blocks_for(pairs.count + also.count, kThreads)), dim3(kThreads)},
                   rotate_halves_kernel<X, Out>, args.table.as<float>(), static_cast<int>(args.x.dim(2) / 2),
                   pairs, also);
    });
  });
}

}  // namespace wan::cuda
