// Packed weights to f32 or bf16. Writing the values takes most of the time: a thread writes 16 bytes or more at once, and reads its few
// bytes of a block one by one out of the cache, wherever they lie.

#include "backends/cuda/kernels/unpack.h"

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"
#include "tensor/unpack.h"

namespace wan::cuda {

namespace {

constexpr int kUnpackValues = 8;  // values a thread, of one scale

}  // namespace

template <typename Format, typename Out>
__global__ void unpack_runs_kernel(const std::uint8_t* packed, Out* out, std::int64_t packs) {
  constexpr int kAtOnce = Format::kValues == 1 ? kUnpackValues : 1;  // blocks
  constexpr int kPacks = kAtOnce * Format::kValues / kUnpackValues;  // in them
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pack >= packs) return;
  const std::int64_t block = pack / kPacks * kAtOnce;
  const auto run =
      Format::run(packed + block * Format::kBytes, static_cast<int>(pack % kPacks) * kUnpackValues);
  float values[kUnpackValues];
#pragma unroll
  for (int i = 0; i < kUnpackValues; ++i) values[i] = run(i);
  store_pack<kUnpackValues>(out + pack * kUnpackValues, values);
}

/// A block by 16 threads, each with 16 values in a row: two of the matrix's four factors work within a thread, two across.
template <typename Format, typename Out>
__global__ void unpack_rotated_kernel(const std::uint8_t* packed, Out* out, std::int64_t blocks) {
  constexpr int kValues = Format::kValues / 16;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t block = thread / 16;
  const int part = static_cast<int>(thread % 16);
  const bool there = block < blocks;  // all of a warp's lanes take part in the exchanges
  const std::uint8_t* const from = packed + (there ? block : 0) * Format::kBytes;
  float values[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i)
    values[i] = static_cast<float>(static_cast<std::int8_t>(from[4 + part * kValues + i]));
#pragma unroll
  for (int step = 1; step < kValues; step *= 4)
#pragma unroll
    for (int four = 0; four < kValues / 4; ++four)
      Format::rotate_four(values + Format::first_of_four(four, step), step);
      // A row of the matrix of four is the sum of all, less twice the value that mirrors the row's own.
#pragma unroll
  for (int step = 1; step < 16; step *= 4)
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const float mirrored = __shfl_xor_sync(0xffffffffu, values[i], 3 * step);
      float sum = values[i] + __shfl_xor_sync(0xffffffffu, values[i], step);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2 * step);
      values[i] = sum - 2.0f * mirrored;
    }
  if (!there) return;
  const float scale = formats::bits_as_float(formats::load_u32(from)) * Format::kNorm;
#pragma unroll
  for (int i = 0; i < kValues; ++i) values[i] *= scale;
  store_pack<kValues>(out + (block * 16 + part) * kValues, values);
}

void launch_unpack(cudaStream_t stream, const UnpackArgs& args) {
  const auto* const packed = reinterpret_cast<const std::uint8_t*>(args.packed.data());
  const std::int64_t values = args.out.elements();
  with_activation_type(args.out.dtype(), [&](auto tag) {
    using Out = typename decltype(tag)::type;
    auto* const out = reinterpret_cast<Out*>(args.out.data());
    with_format(args.packed.dtype(), [&](auto format) {
      using Format = decltype(format);
      if constexpr (formats::kHasRuns<Format>) {
        const std::int64_t packs = values / kUnpackValues;
        launch(stream, {.grid = dim3(blocks_for(packs, kFlatThreads)), .block = dim3(kFlatThreads)},
               unpack_runs_kernel<Format, Out>, packed, out, packs);
      } else {
        const std::int64_t blocks = values / Format::kValues;
        launch(stream, {.grid = dim3(blocks_for(blocks * 16, kFlatThreads)), .block = dim3(kFlatThreads)},
               unpack_rotated_kernel<Format, Out>, packed, out, blocks);
      }
    });
  });
}

}  // namespace wan::cuda
