#pragma once
// The check sum of a PNG chunk, for tests that write chunks of their own.

#include <cstdint>
#include <string_view>

namespace wan::test {

/// CRC-32 of a chunk's name and body.
inline std::uint32_t png_crc(std::string_view chunk) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : chunk) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

}  // namespace wan::test
