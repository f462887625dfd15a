#pragma once
// Philox4x32-10, the counter-based generator of Salmon et al. 2011 ("Parallel random numbers: as easy as 1,
// 2, 3"), and cuRAND's way from its integers to normals.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace wan {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// Four random 32-bit values for a counter and a key.
inline PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    // Weyl sequences of the golden ratio and of sqrt(3) - 1.
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

/// Box-Muller on two 32-bit values, in float as curand_normal4() does it, with exact sine and cosine in place
/// of the GPU's fast ones. The sine comes first.
inline std::array<float, 2> curand_box_muller(std::uint32_t x, std::uint32_t y) {
  constexpr float kScale = 0x1p-32F;
  constexpr float kAngleScale = kScale * 2.0F * std::numbers::pi_v<float>;
  const float uniform = std::fma(static_cast<float>(x), kScale, kScale / 2.0F);
  const float angle = std::fma(static_cast<float>(y), kAngleScale, kAngleScale / 2.0F);
  const float radius = std::sqrt(-2.0F * std::log(uniform));
  return {radius * std::sin(angle), radius * std::cos(angle)};
}

}  // namespace wan
