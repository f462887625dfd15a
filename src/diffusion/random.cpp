#include "diffusion/random.h"

#include "base/error.h"
#include "diffusion/torch_cpu_random.h"
#include "diffusion/torch_cuda_random.h"

namespace wan {

std::unique_ptr<RandomGenerator> make_random_generator(const RandomSpec& spec, std::int64_t seed,
                                                       std::uint64_t offset) {
  WAN_CHECK(seed >= 0, kInvalidArgument, "[random] expected a seed from 0 to 9223372036854775807, got {}",
            seed);
  const auto bits = static_cast<std::uint64_t>(seed);
  if (spec.kind == RandomKind::kTorchCpu) {
    WAN_CHECK(offset == 0, kInternal, "[random] torch-cpu has no offset, got {}", offset);
    return std::make_unique<TorchCpuRandom>(bits);
  }
  WAN_CHECK(spec.grid.multiprocessors >= 1 && spec.grid.threads_per_multiprocessor >= kCudaRandomBlock,
            kInvalidArgument,
            "[random] expected a grid of 1 multiprocessor or more with {} threads or more, got {}x{}; "
            "132x2048 is that "
            "of an H100",
            kCudaRandomBlock, spec.grid.multiprocessors, spec.grid.threads_per_multiprocessor);
  return std::make_unique<TorchCudaRandom>(spec.grid, bits, offset);
}

}  // namespace wan
