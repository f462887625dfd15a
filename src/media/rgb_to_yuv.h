#pragma once
// RGB frames to yuv420p through swscale, with a stated matrix.

#include <cstdint>

#include "media/ffmpeg_support.h"

namespace wan {

class RgbToYuv {
 public:
  RgbToYuv(int width, int height);

  /// A new yuv420p frame in limited range and the matrix of is_bt709(), tagged; chroma is sited left, as
  /// H.264 assumes. `rgb` is [H, W, 3], rows without gaps.
  FfmpegPtr<AVFrame> convert(const std::uint8_t* rgb);

  /// The colour tags that go with the frames.
  void tag(AVCodecContext& context) const;

 private:
  int width_;
  int height_;
  bool bt709_;
  FfmpegPtr<SwsContext> scaler_;
  FfmpegPtr<AVFrame> source_;  // swscale's vector loops read past the end of rows: this one has padding
};

}  // namespace wan
