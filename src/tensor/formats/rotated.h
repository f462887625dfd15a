#pragma once
// int8 whose rows were rotated in groups of 256 before they were rounded, so that no column stands out ("convrot").

#include "tensor/formats/format_math.h"

namespace wan::formats {

/// f32 scale, codes[256]: scale * H codes, H the fourth Kronecker power of [[1,1,1,-1],[1,1,-1,1],[1,-1,1,1],[-1,1,1,1]] over 16, which is
/// its own inverse. Sums of codes are exact in f32, so that a value has one rounding in whatever order they are taken; each is less than
/// 2^15, for a row of H has at most 136 of one sign.
struct I8Rotated256 {
  static constexpr const char* kName = "i8/256 rotated";
  static constexpr int kValues = 256;
  static constexpr int kBytes = 4 + kValues;
  static constexpr int kStages = 4;
  static constexpr float kNorm = 1.0f / 16.0f;

  /// Rows of the matrix of four on values `step` apart from x on: the sum of all less twice the value that mirrors a row's own.
  template <typename T>
  static WAN_FORMAT void rotate_four(T* x, int step) {
    const T a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
    const T sum = (a + b) + (c + d);
    x[0] = sum - 2 * d;
    x[step] = sum - 2 * c;
    x[2 * step] = sum - 2 * b;
    x[3 * step] = sum - 2 * a;
  }
  /// Where the `four`-th of 64 begins in the stage with this step: 1, 4, 16, 64.
  static WAN_FORMAT int first_of_four(int four, int step) { return four / step * 4 * step + four % step; }

  static WAN_FORMAT void unpack(const std::uint8_t* block, float* out) {
    const float scale = load<float, 4>(block) * kNorm;
    for (int i = 0; i < kValues; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(block[4 + i]));
    for (int step = 1; step < kValues; step *= 4)
      for (int four = 0; four < kValues / 4; ++four) rotate_four(out + first_of_four(four, step), step);
    for (int i = 0; i < kValues; ++i) out[i] *= scale;
  }
};

}  // namespace wan::formats
