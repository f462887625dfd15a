#pragma once
// GGUF's formats of 32 values: d and m are IEEE halves. Products of d with an integer are exact in f32, so that a value has at most one
// rounding, fused or not.

#include "tensor/formats/format_math.h"

namespace wan::formats {

/// d, i8 q[32]: d * q.
struct Q8_0 {
  static constexpr const char* kName = "q8_0";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 34;
  struct Run {
    float d;
    const std::uint8_t* q;
    WAN_FORMAT float operator()(int i) const {
      return d * static_cast<float>(static_cast<std::int8_t>(q[i]));
    }
  };
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    return {load_half(block), block + 2 + first};
  }
};

/// The nibbles of 16 bytes: the low ones are the first 16 values.
struct Nibbles {
  const std::uint8_t* q;
  int shift;
  WAN_FORMAT Nibbles(const std::uint8_t* bytes, int first)
      : q(bytes + first % 16), shift(first < 16 ? 0 : 4) {}
  WAN_FORMAT int operator()(int i) const { return (q[i] >> shift) & 15; }
};

/// d, u8 qs[16]: d * (q - 8).
struct Q4_0 {
  static constexpr const char* kName = "q4_0";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 18;
  struct Run {
    float d;
    Nibbles q;
    WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(q(i) - 8); }
  };
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    return {load_half(block), Nibbles(block + 2, first)};
  }
};

/// d, m, u8 qs[16]: d * q + m.
struct Q4_1 {
  static constexpr const char* kName = "q4_1";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 20;
  struct Run {
    float d, m;
    Nibbles q;
    WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(q(i)) + m; }
  };
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    return {load_half(block), load_half(block + 2), Nibbles(block + 4, first)};
  }
};

/// Nibbles with a fifth bit each, value j's in bit j of the four bytes before them.
struct FiveBits {
  Nibbles low;
  std::uint32_t high;
  WAN_FORMAT FiveBits(const std::uint8_t* bytes, int first)
      : low(bytes + 4, first), high(load_u32(bytes) >> first) {}
  WAN_FORMAT int operator()(int i) const { return low(i) | static_cast<int>((high >> i) & 1u) << 4; }
};

/// d, u32 qh, u8 qs[16]: d * (q - 16).
struct Q5_0 {
  static constexpr const char* kName = "q5_0";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 22;
  struct Run {
    float d;
    FiveBits q;
    WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(q(i) - 16); }
  };
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    return {load_half(block), FiveBits(block + 2, first)};
  }
};

/// d, m, u32 qh, u8 qs[16]: d * q + m.
struct Q5_1 {
  static constexpr const char* kName = "q5_1";
  static constexpr int kValues = 32;
  static constexpr int kBytes = 24;
  struct Run {
    float d, m;
    FiveBits q;
    WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(q(i)) + m; }
  };
  static WAN_FORMAT Run run(const std::uint8_t* block, int first) {
    return {load_half(block), load_half(block + 2), FiveBits(block + 4, first)};
  }
};

}  // namespace wan::formats
