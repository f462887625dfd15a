#pragma once
// GGUF's formats of four bits whose values lie closer together near zero.

#include "tensor/formats/legacy_quants.h"

namespace wan::formats {

/// The sixteen values, as one number of 64 bits for each eight of them: a table in memory would be one on each device.
WAN_FORMAT int iq4_value(int code) {
  constexpr std::uint64_t kLow = 0xf6eaddcfbfad9881;   // -127 -104 -83 -65 -49 -35 -22 -10
  constexpr std::uint64_t kHigh = 0x7159453526190d01;  // 1 13 25 38 53 69 89 113
  return static_cast<std::int8_t>((code < 8 ? kLow : kHigh) >> (8 * (code & 7)));
}

/// d, u8 qs[16]: d * value(q).
struct IQ4_NL {
  static constexpr const char* kName = "iq4_nl";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 18;
  struct Run {
    float d;
    Nibbles q;
    WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(iq4_value(q(i))); }
  };
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    return {load_half(block), Nibbles(block + 2, first)};
  }
};

/// d, u16 h, u8 l[4], qs[128]: d * (scale - 32) * value(q), eight sub-blocks of 32.
struct IQ4_XS {
  static constexpr const char* kName = "iq4_xs";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 136;
  using Run = IQ4_NL::Run;
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    const int k = first / 32;
    const int low = (block[4 + k / 2] >> (k % 2 * 4)) & 15;
    const int high = static_cast<int>((load_u16(block + 2) >> (2 * k)) & 3u);
    return {load_half(block) * static_cast<float>((low | high << 4) - 32),
            Nibbles(block + 8 + 16 * k, first % 32)};
  }
};

}  // namespace wan::formats
