#pragma once
// GGUF's formats of 256 values in sub-blocks of 16 or 32, whose scales are small integers times a half. Every product is exact in f32:
// 11 bits of a half, 6 or 8 of a scale, 2 to 6 of a value.

#include "tensor/formats/format_math.h"

namespace wan::formats {

/// Scale and minimum of the eight sub-blocks of Q4_K and Q5_K: six bits each in twelve bytes.
struct SixBitPair {
  int scale, minimum;
  WAN_FORMAT SixBitPair(const std::uint8_t* s, int k) {
    const int a = s[k % 4], b = s[4 + k % 4], c = s[8 + k % 4];
    scale = k < 4 ? a & 63 : (c & 15) | (a >> 6) << 4;
    minimum = k < 4 ? b & 63 : c >> 4 | (b >> 6) << 4;
  }
};

/// u8 s[16], qs[64], d, dmin: d * (s & 15) * q - dmin * (s >> 4).
struct Q2_K {
  static constexpr const char* kName = "q2_k";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 84;
  static constexpr int kApart = 32;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    const int scale = block[first / 16];
    return Affine{load_half(block + 80) * static_cast<float>(scale & 15),
                  -load_half(block + 82) * static_cast<float>(scale >> 4),
                  Bits{block + 16 + first / 128 * 32 + first % 32, first % 128 / 32 * 2, 3}};
  }
};

/// u8 hm[32], qs[64], s[12], d: d * (scale - 32) * (q - (its bit of hm ? 0 : 4)).
struct Q3_K {
  static constexpr const char* kName = "q3_k";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 110;
  static constexpr int kApart = 32;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    const std::uint8_t* s = block + 96;
    const int j = first / 16;
    const int low = (s[j % 8] >> (j / 8 * 4)) & 15;
    const int scale = low + ((s[8 + j % 4] >> (2 * (j / 4))) & 3) * 16 - 32;
    const Bits q{block + 32 + first / 128 * 32 + first % 32, first % 128 / 32 * 2, 3};
    const Bits high{block + first % 32, first / 32, 1};
    return Scaled{load_half(block + 108) * static_cast<float>(scale), joined(q, high, 2), 4};
  }
};

/// d, dmin, u8 s[12], qs[128]: d * scale * q - dmin * minimum.
struct Q4_K {
  static constexpr const char* kName = "q4_k";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 144;
  static constexpr int kApart = 32;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    const SixBitPair pair(block + 4, first / 32);
    return Affine{load_half(block) * static_cast<float>(pair.scale),
                  -load_half(block + 2) * static_cast<float>(pair.minimum),
                  Bits{block + 16 + first / 64 * 32 + first % 32, first / 32 % 2 * 4, 15}};
  }
};

/// d, dmin, u8 s[12], qh[32], qs[128]: as Q4_K, with a fifth bit.
struct Q5_K {
  static constexpr const char* kName = "q5_k";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 176;
  static constexpr int kApart = 32;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    const SixBitPair pair(block + 4, first / 32);
    const Bits q{block + 48 + first / 64 * 32 + first % 32, first / 32 % 2 * 4, 15};
    const Bits high{block + 16 + first % 32, first / 32, 1};
    return Affine{load_half(block) * static_cast<float>(pair.scale),
                  -load_half(block + 2) * static_cast<float>(pair.minimum), joined(q, high, 4)};
  }
};

/// u8 ql[128], qh[64], i8 sc[16], d: d * sc * (q - 32).
struct Q6_K {
  static constexpr const char* kName = "q6_k";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 210;
  static constexpr int kApart = 64;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    const int half = first / 128;
    const int k = first % 128 / 32;
    const auto scale = static_cast<std::int8_t>(block[192 + first / 16]);
    const Bits q{block + 64 * half + 32 * (k & 1) + first % 32, (k >> 1) * 4, 15};
    const Bits high{block + 128 + 32 * half + first % 32, 2 * k, 3};
    return Scaled{load_half(block + 208) * static_cast<float>(scale), joined(q, high, 4), 32};
  }
};

}  // namespace wan::formats
