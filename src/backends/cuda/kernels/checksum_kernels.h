#pragma once
// Checksums of tensors: sums of mixed 64-bit words, so that threads may come in any order.

#include <cstdint>

#include "backends/cuda/kernels/platform.h"

namespace wan::cuda {

inline constexpr int kChecksumRank = 4;

struct ChecksumExtent {
  std::int64_t dims[kChecksumRank];
  std::int64_t strides[kChecksumRank];
  std::int64_t count;
};

/// Bits: an unsigned integer of the elements' size.
template <typename Bits>
__global__ void checksum_kernel(const Bits* x, ChecksumExtent extent, unsigned long long* sum) {
  unsigned long long own = 0;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < extent.count; i += step) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
#pragma unroll
    for (int d = kChecksumRank - 1; d >= 0; --d) {
      offset += rest % extent.dims[d] * extent.strides[d];
      rest /= extent.dims[d];
    }
    // The finaliser of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    unsigned long long word = static_cast<unsigned long long>(i) * 0x9e3779b97f4a7c15ull + x[offset];
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebull;
    own += word ^ (word >> 31);
  }
  if (own != 0) atomicAdd(sum, own);
}

}  // namespace wan::cuda
