#pragma once
// A thread's part of the Hopper attention (hopper_attention_kernel.h): the scores, weights and sums of two queries, the products that
// make them on the tensor cores, and softmax in between.

#include <cute/arch/mma_sm90_gmma.hpp>
#include <cute/arch/mma_sm90_gmma_ext.hpp>
#include <cute/arch/util.hpp>

#include <cstdint>
#include <limits>
#include <utility>

namespace wan::cuda::hopper {

constexpr int kWidth = 128;     // of a head
constexpr int kPiece = 64;      // of a head's width: 128 bytes, the widest row that shared memory swizzles
constexpr int kGroupRows = 64;  // queries of a group of four warps
constexpr int kGroups = 2;
constexpr int kQueries = kGroups * kGroupRows;

/// What is taken off a row's scores before they become powers of two, so that these stay numbers of f32.
enum class Shift {
  kOfTheFirst,  // the greatest of the first tile, and more where sums have grown large; notes what overflows
  kOfAll,       // the greatest so far
  kMended,      // the same, for what overflowed
};

/// The matrix descriptor of swizzled rows of 128 bytes at `data`; `piece` bytes lie between pieces of the width where it runs
/// along the rows (values), and are not looked at otherwise.
__device__ inline std::uint64_t describe(const void* data, unsigned piece = 16) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
  constexpr std::uint64_t kEightRows = std::uint64_t{1024 >> 4} << 32;
  const std::uint64_t address = cute::cast_smem_ptr_to_uint(data);
  return kSwizzle128 | kEightRows | std::uint64_t{piece >> 4} << 16 | ((address & 0x3ffff) >> 4);
}

template <typename Product, int kCount, typename... Operands>
__device__ __forceinline__ void multiply_add(float (&sums)[kCount], cute::SM90::GMMA::ScaleOut keep,
                                             const Operands&... operands) {
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    Product::fma(operands..., sums[i]..., keep);
  }
  (std::make_index_sequence<kCount>());
}

/// The compiler must not move the use of a register over a point where the tensor cores still own it.
template <typename Value, int kCount>
__device__ __forceinline__ void pin(Value (&values)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) cute::warpgroup_fence_operand(values[i]);
}

template <int kKeys>
struct Products;
#define WAN_HOPPER_PRODUCTS(KEYS)                                                                   \
  template <>                                                                                       \
  struct Products<KEYS> {                                                                           \
    using Scores = cute::SM90::GMMA::MMA_64x##KEYS##x16_F32BF16BF16_SS<cute::SM90::GMMA::Major::K,  \
                                                                       cute::SM90::GMMA::Major::K>; \
  };
WAN_HOPPER_PRODUCTS(128)
WAN_HOPPER_PRODUCTS(160)
WAN_HOPPER_PRODUCTS(176)
WAN_HOPPER_PRODUCTS(192)
#undef WAN_HOPPER_PRODUCTS
using ValueProduct =
    cute::SM90::GMMA::MMA_64x128x16_F32BF16BF16_RS<cute::SM90::GMMA::Major::K, cute::SM90::GMMA::Major::MN>;

__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ std::uint32_t pair_of_bf16(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

/// The greatest (sum) over the four threads that share a row.
__device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}
__device__ __forceinline__ float row_sum(float x) {
  x += __shfl_xor_sync(0xffffffff, x, 1);
  return x + __shfl_xor_sync(0xffffffff, x, 2);
}

/// A thread's two rows of a group's 64 queries: row 16 warp + lane / 4, and the one 8 below. Of each it has two neighbouring
/// columns of every eight: elements 4 i + 2 row + column hold column 8 i + 2 (lane % 4) + column.
template <int kKeys, Shift kShift, bool kBiased>
struct Rows {
  float sums[kWidth / 2];  // softmax's weights times values
  float scores[kKeys / 2];
  std::uint32_t weights[kKeys / 4];  // in pairs of bf16, as the tensor cores read them
  float shift[2];                    // of scores in powers of two
  float weight[2];                   // a thread's share of the sum of weights

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) sums[i] = 0.0f;
    shift[0] = shift[1] = -std::numeric_limits<float>::infinity();
    weight[0] = weight[1] = 0.0f;
  }

  __device__ __forceinline__ void ask_scores(std::uint64_t q, std::uint64_t k) {
    using cute::SM90::GMMA::ScaleOut;
    pin(scores);
    cute::warpgroup_arrive();
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i) {  // 16 of the width are 32 bytes of a row
      const int piece = i / 4;
      const int within = i % 4 * 32;
      multiply_add<typename Products<kKeys>::Scores>(scores, i == 0 ? ScaleOut::Zero : ScaleOut::One,
                                                     q + ((piece * kQueries * 128 + within) >> 4),
                                                     k + ((piece * kKeys * 128 + within) >> 4));
    }
    cute::warpgroup_commit_batch();
  }

  __device__ __forceinline__ void ask_sums(std::uint64_t v) {
    pin(sums);
    pin(weights);
    cute::warpgroup_arrive();
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i)  // 16 keys are 16 rows
      multiply_add<ValueProduct>(sums, cute::SM90::GMMA::ScaleOut::One, weights[4 * i], weights[4 * i + 1],
                                 weights[4 * i + 2], weights[4 * i + 3], v + ((i * 16 * 128) >> 4));
    cute::warpgroup_commit_batch();
  }

  /// Scores are there; sums may not be yet.
  __device__ __forceinline__ void await_scores() {
    cute::warpgroup_wait<1>();
    pin(scores);
  }

  __device__ __forceinline__ void await_all() {
    pin(scores);  // what is made of them is made before
    cute::warpgroup_wait<0>();
    pin(scores);
    pin(sums);
    pin(weights);
  }

  __device__ __forceinline__ static int column(int i) {
    return i / 4 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
  }

  __device__ __forceinline__ void leave_out(int keys) {
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i)
      if (column(i) >= keys) scores[i] = -std::numeric_limits<float>::infinity();
  }

  __device__ __forceinline__ void add_bias(const float* bias, int keys, float inverse_scale) {
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i)
      if (i % 4 < 2 && column(i) < keys) {
        const float added = bias[column(i)] * inverse_scale;
        scores[i] += added;
        scores[i + 2] += added;
      }
  }

  /// Makes weights of the scores, in place, in f32.
  __device__ __forceinline__ void soften(float scale_log2) {
    // Where all keys so far have a bias of minus infinity, so has the shift.
    const auto known = [](float x) {
      return kBiased && x == -std::numeric_limits<float>::infinity() ? 0.0f : x;
    };
    const float shifts[2] = {known(shift[0]), known(shift[1])};
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      scores[i] = power_of_two(fmaf(scores[i], scale_log2, -shifts[i / 2 % 2]));
      weight[i / 2 % 2] += scores[i];
    }
  }

  /// Raises the shift to the greatest score. Gives false, mostly, where the sums so far may stay as they are; otherwise `factor`
  /// is what they are to be multiplied by.
  __device__ __forceinline__ bool follow_greatest(float scale_log2, float (&factor)[2]) {
    constexpr float kSpare = 8.0f;  // weights of up to 2^8
    float greatest[2] = {scores[0], scores[2]};
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) greatest[i / 2 % 2] = fmaxf(greatest[i / 2 % 2], scores[i]);
    bool grows = false;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      greatest[row] = fmaxf(shift[row], row_max(greatest[row]) * scale_log2);
      grows |= greatest[row] - shift[row] > kSpare;
    }
    if (!__any_sync(0xffffffff, grows)) return false;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const bool none = kBiased && greatest[row] == -std::numeric_limits<float>::infinity();
      factor[row] = none ? 1.0f : power_of_two(shift[row] - greatest[row]);
      weight[row] *= factor[row];
      shift[row] = greatest[row];
    }
    return true;
  }

  /// Raises the shift where weights, made already, have become large.
  __device__ __forceinline__ bool follow_weights(float (&factor)[2]) {
    constexpr float kLarge = 0x1p40f;
    constexpr int kMostAtOnce = 100;  // 2^-127 would be 0; what is still large afterwards comes here again
    if (!__any_sync(0xffffffff, weight[0] > kLarge || weight[1] > kLarge)) return false;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const float total = row_sum(weight[row]);
      const bool large = total > kLarge && total < std::numeric_limits<float>::infinity();
      const int exponent = large ? min(ilogbf(total), kMostAtOnce) : 0;
      factor[row] = power_of_two(static_cast<float>(-exponent));
      weight[row] *= factor[row];
      shift[row] += static_cast<float>(exponent);
    }
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) scores[i] *= factor[i / 2 % 2];
    return true;
  }

  /// Makes weights of the first tile's scores, whose sums are zeros still.
  __device__ __forceinline__ void weigh_first(float scale_log2) {
    float factor[2];
    follow_greatest(scale_log2, factor);
    soften(scale_log2);
  }

  /// Makes weights of another tile's scores. True: `factor` is what the sums so far are to be multiplied by.
  __device__ __forceinline__ bool weigh(float scale_log2, float (&factor)[2]) {
    if constexpr (kShift == Shift::kOfTheFirst) {
      soften(scale_log2);
      return follow_weights(factor);
    }
    const bool grows = follow_greatest(scale_log2, factor);
    soften(scale_log2);
    return grows;
  }

  __device__ __forceinline__ void round_weights() {
#pragma unroll
    for (int i = 0; i < kKeys / 4; ++i) weights[i] = pair_of_bf16(scores[2 * i], scores[2 * i + 1]);
  }

  __device__ __forceinline__ void scale_sums(const float (&factor)[2]) {
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) sums[i] *= factor[i / 2 % 2];
  }
};

}  // namespace wan::cuda::hopper
