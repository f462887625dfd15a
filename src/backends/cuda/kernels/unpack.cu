// Packed weights to f32 or bf16, near the rate at which they are read and written: a thread loads its bytes of a block at once and writes
// 16 bytes or more.

#include "backends/cuda/kernels/unpack.h"

#include <numeric>

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"
#include "tensor/unpack.h"

namespace wan::cuda {

namespace {

constexpr int kUnpackValues = 8;  // values a thread, of one scale

/// What the bytes of a format's runs are multiples of, wherever its block stands: at most 8.
template <typename Format>
constexpr int kUnpackAlign = Format::kValues == 1 ? kUnpackValues : std::gcd(Format::kBytes, 8);

template <typename Format>
constexpr int kUnpackRuns = Format::kApart == 0 ? 1 : 2;  // a thread

}  // namespace

/// A thread has a run, and the one that comes out of the same bytes.
template <typename Format, typename Out>
__global__ void unpack_runs_kernel(const std::uint8_t* packed, Out* out, std::int64_t threads) {
  constexpr int kAtOnce = Format::kValues == 1 ? kUnpackValues : 1;                            // blocks
  constexpr int kThreads = kAtOnce * Format::kValues / (kUnpackRuns<Format> * kUnpackValues);  // of them
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  const std::int64_t block = thread / kThreads * kAtOnce;
  const auto part = static_cast<unsigned>(thread) % kThreads;
  constexpr unsigned kSide =
      Format::kApart == 0 ? kThreads : Format::kApart / kUnpackValues;  // threads side by side
  const int first = static_cast<int>(part / kSide * (2 * Format::kApart) + part % kSide * kUnpackValues);
  const std::uint8_t* const from = packed + block * Format::kBytes;
  check_address(from, kUnpackAlign<Format>);
  float values[kUnpackRuns<Format>][kUnpackValues];
#pragma unroll
  for (int k = 0; k < kUnpackRuns<Format>; ++k) {
    using Bits = formats::InRegisters<kUnpackAlign<Format>>;
    const auto run = Format::template run<Bits>(from, first + k * Format::kApart);
#pragma unroll
    for (int i = 0; i < kUnpackValues; ++i) values[k][i] = run(i);
  }
#pragma unroll
  for (int k = 0; k < kUnpackRuns<Format>; ++k)
    store_pack<kUnpackValues>(out + block * Format::kValues + first + k * Format::kApart, values[k]);
}

/// A factor of four of whose bits a thread's place has one, `apart` values, and the lane the other: of the four a lane has two.
template <int kCount>
__device__ void rotate_two_by_two(std::int32_t (&x)[kCount], int apart, int lane_step) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if ((i & apart) != 0) continue;
    const std::int32_t a = __shfl_xor_sync(0xffffffffu, x[i], lane_step);
    const std::int32_t b = __shfl_xor_sync(0xffffffffu, x[i + apart], lane_step);
    const std::int32_t sum = (x[i] + x[i + apart]) + (a + b);
    x[i] = sum - 2 * b;
    x[i + apart] = sum - 2 * a;
  }
}

/// Two blocks by 16 threads, each with 8 values in a row of both blocks' halves, so that a warp writes whole lines: of a value's number a
/// thread's place has bits 0 to 2 and 7, the lane 3 to 6. A value of the first block and one of the second go in one integer, the second 2^16
/// times: sums of either take 16 bits.
template <typename Format, typename Out>
__global__ void unpack_rotated_kernel(const std::uint8_t* packed, Out* out, std::int64_t blocks) {
  static_assert(Format::kValues == 256);
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int place = static_cast<int>(thread % 16) * kUnpackValues;
  std::int64_t block[2];
  const std::uint8_t* from[2];
  std::int32_t sums[2 * kUnpackValues];
  // Where there is no second block, or none: all of a warp's lanes take part in the exchanges.
#pragma unroll
  for (int two = 0; two < 2; ++two) {
    block[two] = thread / 16 * 2 + two;
    from[two] = packed + (block[two] < blocks ? block[two] : 0) * Format::kBytes;
    check_address(from[two], 4);
#pragma unroll
    for (int i = 0; i < 2 * kUnpackValues; i += 4) {
      const int first = i / kUnpackValues * 128 + place + i % kUnpackValues;
      const auto codes = formats::load<std::uint32_t, 4>(from[two] + 4 + first);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int code = static_cast<std::int8_t>(codes >> (8 * k));
        sums[i + k] = two == 0 ? code : sums[i + k] + code * 65536;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2 * kUnpackValues; i += 4) Format::rotate_four(sums + i, 1);
  rotate_two_by_two(sums, 4, 1);
#pragma unroll
  for (std::int32_t& sum : sums) {
    const std::int32_t next = __shfl_xor_sync(0xffffffffu, sum, 2);
    sum = sum + next + __shfl_xor_sync(0xffffffffu, sum - next, 4);
  }
  rotate_two_by_two(sums, 8, 8);
#pragma unroll
  for (int two = 0; two < 2; ++two) {
    if (block[two] >= blocks) return;
    const float scale = formats::load<float, 4>(from[two]) * Format::kNorm;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float values[kUnpackValues];
#pragma unroll
      for (int i = 0; i < kUnpackValues; ++i) {
        const std::int32_t sum = sums[half * kUnpackValues + i];
        const int first = static_cast<std::int16_t>(sum);
        values[i] = scale * static_cast<float>(two == 0 ? first : (sum - first) >> 16);
      }
      store_pack<kUnpackValues>(out + block[two] * Format::kValues + half * 128 + place, values);
    }
  }
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
        const std::int64_t threads = values / (kUnpackRuns<Format> * kUnpackValues);
        launch(stream, {.grid = dim3(blocks_for(threads, kFlatThreads)), .block = dim3(kFlatThreads)},
               unpack_runs_kernel<Format, Out>, packed, out, threads);
      } else {
        const std::int64_t blocks = values / Format::kValues;
        launch(stream,
               {.grid = dim3(blocks_for((blocks + 1) / 2 * 16, kFlatThreads)), .block = dim3(kFlatThreads)},
               unpack_rotated_kernel<Format, Out>, packed, out, blocks);
      }
    });
  });
}

}  // namespace wan::cuda
