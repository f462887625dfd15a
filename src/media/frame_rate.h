#pragma once
// Frame rates as exact fractions.

namespace wan {

struct FrameRate {
  int numerator = 0;
  int denominator = 1;
};

/// Whole rates exactly, NTSC's (23.976, 29.97, 59.94, ...) as n * 1000 / 1001, others to a thousandth of a
/// frame a second. Throws InvalidArgument unless 0.001 <= fps <= 1000.
FrameRate frame_rate_of(double fps);

}  // namespace wan
