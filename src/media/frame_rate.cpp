#include "media/frame_rate.h"

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace wan {

FrameRate frame_rate_of(double fps) {
  WAN_CHECK(fps >= 0.001 && fps <= 1000, kInvalidArgument,
            "expected a frame rate between 0.001 and 1000, got {}; Wan2.2's are 16 and 24", fps);
  const double whole = std::round(fps);
  if (std::abs(fps - whole) < 1e-6) return {static_cast<int>(whole), 1};
  // 23.976 and 23.98 are both in use for 24000/1001 = 23.97602...
  const double ntsc = std::round(fps * 1.001);
  if (ntsc >= 1 && std::abs(fps - ntsc / 1.001) < 0.005) return {static_cast<int>(ntsc) * 1000, 1001};
  const int thousandths = static_cast<int>(std::round(fps * 1000));
  const int divisor = std::gcd(thousandths, 1000);
  return {thousandths / divisor, 1000 / divisor};
}

}  // namespace wan
