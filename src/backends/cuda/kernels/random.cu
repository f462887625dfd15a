#include "backends/cuda/kernels/random.h"

#include <algorithm>

#include "backends/cuda/kernels/random_kernels.h"
#include "base/error.h"

namespace wan::cuda {

void launch_normal(cudaStream_t stream, const CudaNormalsArgs& args) {
  constexpr std::int64_t kThreads = 256;  // of a block of PyTorch's random kernels
  const std::int64_t count = args.out.elements();
  if (count == 0) return;
  const std::int64_t resident = args.multiprocessors * (args.threads_per_multiprocessor / kThreads);
  WAN_CHECK(resident > 0, kInvalidArgument, "[random] {} multiprocessors of {} threads hold no block of {}",
            args.multiprocessors, args.threads_per_multiprocessor, kThreads);
  const std::int64_t blocks = std::min(resident, (count + kThreads - 1) / kThreads);
  launch(stream, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, normal_kernel, args.out.as<float>(),
         count, args.seed, args.offset);
}

}  // namespace wan::cuda
