// Sources: ATen's DistributionTemplates.h (normal_fill) and core/DistributionsHelper.h (normal_distribution,
// and the uniform ones below it) for the order in which 32-bit values are drawn and how they become normals.

#include "diffusion/torch_cpu_random.h"

#include <cmath>
#include <numbers>

namespace wan {

namespace {

constexpr std::size_t kBlock = 16;

// Turns 16 uniforms in [0, 1) into 16 normals: the first eight give radii, the last eight angles.
void box_muller_block(float* values) {
  constexpr float kTwoPi = 2.0F * std::numbers::pi_v<float>;
  for (std::size_t i = 0; i < kBlock / 2; ++i) {
    const float radius = std::sqrt(-2.0F * std::log(1.0F - values[i]));
    const float angle = kTwoPi * values[i + kBlock / 2];
    values[i] = radius * std::cos(angle);
    values[i + kBlock / 2] = radius * std::sin(angle);
  }
}

}  // namespace

// PyTorch, too, seeds its engine with the lower half of the seed only.
TorchCpuRandom::TorchCpuRandom(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

void TorchCpuRandom::normal(std::span<float> out) {
  if (out.size() >= kBlock) {
    fill_blocks(out);
  } else {
    for (float& value : out) value = static_cast<float>(normal_double());
  }
}

void TorchCpuRandom::fill_blocks(std::span<float> out) {
  for (float& value : out) value = uniform_float();
  for (std::size_t i = 0; i + kBlock <= out.size(); i += kBlock) box_muller_block(out.data() + i);
  if (out.size() % kBlock == 0) return;
  // The last 16 values are drawn anew, over the end of the last whole block.
  const std::span<float> tail = out.last(kBlock);
  for (float& value : tail) value = uniform_float();
  box_muller_block(tail.data());
}

// 24 bits of one 32-bit value.
float TorchCpuRandom::uniform_float() {
  return static_cast<float>(static_cast<std::uint32_t>(engine_()) & 0xFFFFFFu) * 0x1p-24F;
}

// 53 bits of two 32-bit values, the first of them the upper one.
double TorchCpuRandom::uniform_double() {
  const std::uint64_t upper = engine_();
  const std::uint64_t lower = engine_();
  return static_cast<double>((upper << 32 | lower) & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
}

double TorchCpuRandom::normal_double() {
  if (spare_) {
    const double value = *spare_;
    spare_.reset();
    return value;
  }
  const double angle = 2.0 * std::numbers::pi * uniform_double();
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform_double()));
  spare_ = radius * std::sin(angle);
  return radius * std::cos(angle);
}

}  // namespace wan
