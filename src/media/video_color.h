#pragma once
// Which YUV a video is stored in.

namespace wan {

/// True: BT.709's matrix. False: BT.601's (SMPTE 170M).
///
/// Files say which it is, but some players and many scripts ignore that and guess: players by size, with the
/// borders used here (mpv, VLC: HD from 1280 columns or above 576 lines, which takes in Wan's 1280x704),
/// scripts on swscale's defaults BT.601. So small videos are BT.601 and large ones BT.709, and both are
/// tagged.
constexpr bool is_bt709(int width, int height) {
  return width >= 1280 || height > 576;
}

}  // namespace wan
