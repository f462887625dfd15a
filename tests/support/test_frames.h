#pragma once
// RGB frames to encode.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace wan::test {

/// [H, W, 3] of uniform noise: hardly compressible, different for each seed.
inline std::vector<std::uint8_t> noise_frame(int width, int height, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (std::uint8_t& value : rgb) value = static_cast<std::uint8_t>(random() >> 24);
  return rgb;
}

/// [H, W, 3] of one grey level.
inline std::vector<std::uint8_t> grey_frame(int width, int height, std::uint8_t level) {
  return std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3,
                                   level);
}

}  // namespace wan::test
