// Checksums of tensors: sums of mixed 64-bit words, so that threads may come in any order.

#include "backends/cuda/kernels/checksum.h"

#include <algorithm>
#include <cstdint>

#include "backends/cuda/kernels/launch_types.h"
#include "backends/cuda/kernels/platform.h"
#include "base/error.h"

namespace wan::cuda {

constexpr int kChecksumRank = 4;

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

void launch_checksum(cudaStream_t stream, const TensorView& x, unsigned long long* sum) {
  WAN_ASSERT(x.rank() <= kChecksumRank);
  ChecksumExtent extent{};
  extent.count = x.elements();
  for (int d = 0; d < kChecksumRank; ++d) {
    const int of_x = d - (kChecksumRank - x.rank());
    extent.dims[d] = of_x < 0 ? 1 : x.dim(of_x);
    extent.strides[d] = of_x < 0 ? 0 : x.stride(of_x);
  }
  constexpr int kThreads = 256;
  constexpr unsigned kMostBlocks = 1024;
  const LaunchShape shape{dim3(std::min(blocks_for(extent.count, kThreads), kMostBlocks)), dim3(kThreads)};
  if (dtype_size(x.dtype()) == sizeof(std::uint32_t))
    return launch(stream, shape, checksum_kernel<std::uint32_t>,
                  reinterpret_cast<const std::uint32_t*>(x.data()), extent, sum);
  WAN_ASSERT(dtype_size(x.dtype()) == sizeof(std::uint16_t));
  launch(stream, shape, checksum_kernel<std::uint16_t>, reinterpret_cast<const std::uint16_t*>(x.data()),
         extent, sum);
}

}  // namespace wan::cuda
