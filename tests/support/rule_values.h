#pragma once
// Numbers that look random and are made by a rule, which tools/golden/make_preprocess.py has too: golden files need not hold them.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "media/image.h"

namespace wan::test {

inline std::vector<std::uint32_t> rule_values(std::uint64_t seed, std::size_t count) {
  std::vector<std::uint32_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto n = static_cast<std::uint32_t>((i + seed * 0x9E3779B9u + 1) * 2654435761u);
    n = (n ^ (n >> 15)) * 2246822519u;
    n = (n ^ (n >> 13)) * 3266489917u;
    values[i] = n ^ (n >> 16);
  }
  return values;
}

/// In [0, 1).
inline std::vector<float> rule_units(std::uint64_t seed, std::size_t count) {
  std::vector<float> units;
  for (const std::uint32_t value : rule_values(seed, count))
    units.push_back(static_cast<float>(value >> 8) / static_cast<float>(1 << 24));
  return units;
}

inline Image rule_picture(std::uint64_t seed, int width, int height) {
  Image image = make_image(width, height);
  std::size_t i = 0;
  for (const std::uint32_t value : rule_values(seed, image.rgb.size()))
    image.rgb[i++] = static_cast<std::uint8_t>(value & 255u);
  return image;
}

}  // namespace wan::test
