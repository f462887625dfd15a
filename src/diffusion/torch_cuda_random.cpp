// Source of the launch geometry and of the element order: ATen's
// native/cuda/DistributionTemplates.h (calc_execution_policy,
// distribution_elementwise_grid_stride_kernel); of the counter layout: cuRAND's curand_init().

#include "diffusion/torch_cuda_random.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "diffusion/philox.h"

namespace wan {

namespace {

/// Threads of the kernel that PyTorch launches for `count` values; each draws four of them in a turn.
std::uint64_t threads_for(const CudaLaunchGrid& grid, std::uint64_t count) {
  const std::uint64_t resident_blocks =
      static_cast<std::uint64_t>(grid.multiprocessors) * (grid.threads_per_multiprocessor / kCudaRandomBlock);
  const std::uint64_t needed_blocks = (count + kCudaRandomBlock - 1) / kCudaRandomBlock;
  return kCudaRandomBlock * std::min(resident_blocks, needed_blocks);
}

}  // namespace

std::uint64_t cuda_random_calls(const CudaLaunchGrid& grid, std::int64_t count) {
  if (count <= 0) return 0;
  const std::uint64_t turn_values = 4 * threads_for(grid, static_cast<std::uint64_t>(count));
  return (static_cast<std::uint64_t>(count) + turn_values - 1) / turn_values;
}

void TorchCudaRandom::normal(std::span<float> out) {
  WAN_CHECK(out.size() <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
            kInvalidArgument,
            "[random] expected at most {} values a draw, got {}; ask for fewer frames or a smaller size",
            std::numeric_limits<std::int32_t>::max(), out.size());
  if (out.empty()) return;
  const std::uint64_t count = out.size();
  const std::uint64_t threads = threads_for(grid_, count);
  const PhiloxKey key{static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};

  // In each turn a thread draws four values and writes them one grid apart.
  const std::uint64_t turn_values = 4 * threads;
  const std::uint64_t turns = cuda_random_calls(grid_, static_cast<std::int64_t>(count));
  for (std::uint64_t turn = 0; turn < turns; ++turn) {
    const std::uint64_t call = calls_ + turn;
    const std::uint64_t base = turn * turn_values;
    for (std::uint64_t thread = 0; thread < std::min(threads, count - base); ++thread) {
      const PhiloxCounter bits =
          philox4x32_10({static_cast<std::uint32_t>(call), static_cast<std::uint32_t>(call >> 32),
                         static_cast<std::uint32_t>(thread), static_cast<std::uint32_t>(thread >> 32)},
                        key);
      for (int pair = 0; pair < 2; ++pair) {
        const std::uint64_t first = base + thread + 2 * pair * threads;
        if (first >= count) break;
        const auto normals = curand_box_muller(bits[2 * pair], bits[2 * pair + 1]);
        out[first] = normals[0];
        if (first + threads < count) out[first + threads] = normals[1];
      }
    }
  }
  calls_ += turns;
}

}  // namespace wan
