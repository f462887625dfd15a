#pragma once
// Codes of eight bits: fp8 without scales, as it stands in a file; and fp8 and int8 with a scale to each block, which the loader puts
// before the block's codes: files keep scales apart.

#include "tensor/formats/format_math.h"

namespace wan::formats {

struct E4m3Code {
  static WAN_FORMAT float value(int code) { return e4m3_value(static_cast<std::uint32_t>(code)); }
};
struct E5m2Code {
  static WAN_FORMAT float value(int code) { return e5m2_value(static_cast<std::uint32_t>(code)); }
};
struct I8Code {
  static WAN_FORMAT float value(int code) { return static_cast<float>(static_cast<std::int8_t>(code)); }
};

/// A value a block.
template <typename Code>
struct PlainCodes {
  static constexpr int kValues = 1;
  static constexpr int kBytes = 1;
  static constexpr int kApart = 0;
  template <typename Bits>
  struct Run {
    Bits codes;
    WAN_FORMAT float operator()(int i) const { return Code::value(codes(i)); }
  };
  template <typename Bits = InMemory>
  static WAN_FORMAT Run<Bits> run(const std::uint8_t* block, int first) {
    return {Bits{block + first, 0, 255}};
  }
};

/// f32 scale, codes[Values]: scale * code.
template <typename Code, int Values>
struct ScaledCodes {
  static constexpr int kValues = Values;
  static constexpr int kBytes = 4 + Values;
  static constexpr int kApart = 0;
  template <typename Bits>
  struct Run {
    float scale;
    Bits codes;
    WAN_FORMAT float operator()(int i) const { return scale * Code::value(codes(i)); }
  };
  template <typename Bits = InMemory>
  static WAN_FORMAT Run<Bits> run(const std::uint8_t* block, int first) {
    return {load<float, 4>(block), Bits{block + 4 + first, 0, 255}};
  }
};

struct F8E4M3 : PlainCodes<E4m3Code> {
  static constexpr const char* kName = "f8_e4m3";
};
struct F8E5M2 : PlainCodes<E5m2Code> {
  static constexpr const char* kName = "f8_e5m2";
};
struct F8E4M3Scaled128 : ScaledCodes<E4m3Code, 128> {
  static constexpr const char* kName = "f8_e4m3/128";
};
struct F8E4M3Scaled64 : ScaledCodes<E4m3Code, 64> {
  static constexpr const char* kName = "f8_e4m3/64";
};
struct F8E5M2Scaled128 : ScaledCodes<E5m2Code, 128> {
  static constexpr const char* kName = "f8_e5m2/128";
};
struct F8E5M2Scaled64 : ScaledCodes<E5m2Code, 64> {
  static constexpr const char* kName = "f8_e5m2/64";
};
struct I8Scaled128 : ScaledCodes<I8Code, 128> {
  static constexpr const char* kName = "i8/128";
};
struct I8Scaled64 : ScaledCodes<I8Code, 64> {
  static constexpr const char* kName = "i8/64";
};

}  // namespace wan::formats
