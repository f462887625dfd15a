#include "backends/cuda/kernels/checksum.h"

#include <algorithm>

#include "backends/cuda/kernels/checksum_kernels.h"
#include "backends/cuda/kernels/launch_types.h"
#include "base/error.h"

namespace wan::cuda {

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
