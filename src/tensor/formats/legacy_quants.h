#pragma once
// GGUF's formats of 32 values: d and m are IEEE halves. Products of d with an integer are exact in f32, so that a value has at most one
// rounding, fused or not.

#include "tensor/formats/format_math.h"

namespace wan::formats {

template <typename Bits>
struct SignedBytes {
  Bits codes;
  WAN_FORMAT int operator()(int i) const { return static_cast<std::int8_t>(codes(i)); }
};

/// d, i8 q[32]: d * q.
struct Q8_0 {
  static constexpr const char* kName = "q8_0";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 34;
  static constexpr int kApart = 0;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    return Scaled{load_half(block), SignedBytes<Bits>{Bits{block + 2 + first, 0, 255}}, 0};
  }
};

/// The nibbles of 16 bytes: the low ones are the first 16 values.
template <typename Bits>
WAN_FORMAT Bits nibbles(const std::uint8_t* bytes, int first) {
  return Bits{bytes + first % 16, first < 16 ? 0 : 4, 15};
}

/// d, u8 qs[16]: d * (q - 8).
struct Q4_0 {
  static constexpr const char* kName = "q4_0";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 18;
  static constexpr int kApart = 16;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    return Scaled{load_half(block), nibbles<Bits>(block + 2, first), 8};
  }
};

/// d, m, u8 qs[16]: d * q + m.
struct Q4_1 {
  static constexpr const char* kName = "q4_1";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 20;
  static constexpr int kApart = 16;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    return Affine{load_half(block), load_half(block + 2), nibbles<Bits>(block + 4, first)};
  }
};

/// Nibbles with a fifth bit each, value j's in bit j of the four bytes before them.
template <typename Bits>
struct FiveBits {
  Bits low;
  std::uint32_t high;
  WAN_FORMAT FiveBits(const std::uint8_t* bytes, int first)
      : low(nibbles<Bits>(bytes + 4, first)), high(load<std::uint32_t, 2>(bytes) >> first) {}
  WAN_FORMAT int operator()(int i) const { return low(i) | static_cast<int>((high >> i) & 1u) << 4; }
};

/// d, u32 qh, u8 qs[16]: d * (q - 16).
struct Q5_0 {
  static constexpr const char* kName = "q5_0";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 22;
  static constexpr int kApart = 16;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    return Scaled{load_half(block), FiveBits<Bits>(block + 2, first), 16};
  }
};

/// d, m, u32 qh, u8 qs[16]: d * q + m.
struct Q5_1 {
  static constexpr const char* kName = "q5_1";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 24;
  static constexpr int kApart = 16;
  template <typename Bits = InMemory>
  static WAN_FORMAT auto run(const std::uint8_t* block, int first) {
    return Affine{load_half(block), load_half(block + 2), FiveBits<Bits>(block + 4, first)};
  }
};

}  // namespace wan::formats
