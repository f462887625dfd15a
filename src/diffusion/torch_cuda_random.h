#pragma once
// The generator behind RandomKind::kTorchCuda. Internal to random.cpp.

#include <cstdint>
#include <span>

#include "diffusion/random.h"

namespace wan {

/// Threads of a block of PyTorch's random kernels.
inline constexpr int kCudaRandomBlock = 256;

class TorchCudaRandom final : public RandomGenerator {
 public:
  TorchCudaRandom(const CudaLaunchGrid& grid, std::uint64_t seed, std::uint64_t offset)
      : grid_(grid), seed_(seed), calls_(offset) {}
  void normal(std::span<float> out) override;

 private:
  CudaLaunchGrid grid_;
  std::uint64_t seed_;
  // Philox calls that each thread has made so far: PyTorch's philox_offset over 4.
  std::uint64_t calls_;
};

}  // namespace wan
