#pragma once
// The generator behind RandomKind::kTorchCpu. Internal to random.cpp.

#include <cstdint>
#include <optional>
#include <random>
#include <span>

#include "diffusion/random.h"

namespace wan {

class TorchCpuRandom final : public RandomGenerator {
 public:
  explicit TorchCpuRandom(std::uint64_t seed);
  void normal(std::span<float> out) override;

 private:
  float uniform_float();
  double uniform_double();
  double normal_double();
  void fill_blocks(std::span<float> out);

  std::mt19937 engine_;
  // Second value of the last pair that normal_double() made. Kept over calls, and untouched by fill_blocks().
  std::optional<double> spare_;
};

}  // namespace wan
