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

template <typename Bits>
struct Iq4Values {
  Bits codes;
  WAN_FORMAT int operator()(int i) const { return iq4_value(codes(i)); }
};

/// d, u8 qs[16]: d * value(q).
struct IQ4_NL {
  static constexpr const char* kName = "iq4_nl";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 18;
  static constexpr int kApart = 16;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    return Scaled{load_half(block), Iq4Values<Bits>{nibbles<Bits>(block + 2, first)}, 0};
  }
};

/// d, u16 h, u8 l[4], qs[128]: d * (scale - 32) * value(q), eight sub-blocks of 32.
struct IQ4_XS {
  static constexpr const char* kName = "iq4_xs";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 136;
  static constexpr int kApart = 16;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    const int k = first / 32;
    const int low = (block[4 + k / 2] >> (k % 2 * 4)) & 15;
    const int high = (load<std::uint16_t, 2>(block + 2) >> (2 * k)) & 3;
    return Scaled{load_half(block) * static_cast<float>((low | high << 4) - 32),
                  Iq4Values<Bits>{nibbles<Bits>(block + 8 + 16 * k, first % 32)}, 0};
  }
};

}  // namespace wan::formats
