// open_video() through FFmpeg's libraries.

extern "C" {
#include <libavutil/display.h>
}

#include <cmath>
#include <utility>

#include "base/error.h"
#include "media/image_orientation.h"
#include "media/stream_decoder.h"
#include "media/video_reader.h"

namespace wan {

namespace {

constexpr int kMostSide = 16384;

/// EXIF's number for what a display matrix does to a picture: a quarter turn, a mirror or both. Other angles are left alone,
/// as players do that cannot turn by them.
int orientation_of(const std::int32_t* matrix) {
  const std::int32_t xx = matrix[0], xy = matrix[1], yx = matrix[3], yy = matrix[4];
  if (xy == 0 && yx == 0 && xx != 0 && yy != 0) {
    if (xx > 0) return yy > 0 ? 1 : 4;
    return yy > 0 ? 2 : 3;
  }
  if (xx == 0 && yy == 0 && xy != 0 && yx != 0) {
    if (xy > 0) return yx > 0 ? 5 : 6;
    return yx > 0 ? 8 : 7;
  }
  return 1;
}

int orientation_of(const AVStream& stream) {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
  const AVPacketSideData* side = av_packet_side_data_get(
      stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  if (side != nullptr) {
    data = side->data;
    size = side->size;
  }
#else
  data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
#endif
  constexpr std::size_t kMatrixBytes = 9 * sizeof(std::int32_t);
  return data == nullptr || size < kMatrixBytes ? 1
                                                : orientation_of(reinterpret_cast<const std::int32_t*>(data));
}

class FfmpegVideo final : public VideoReader {
 public:
  explicit FfmpegVideo(const std::filesystem::path& path)
      : decoder_(path, AVMEDIA_TYPE_VIDEO), orientation_(orientation_of(decoder_.stream())) {
    const AVCodecParameters& parameters = *decoder_.stream().codecpar;
    width_ = parameters.width;
    height_ = parameters.height;
    WAN_CHECK(width_ > 0 && height_ > 0 && width_ <= kMostSide && height_ <= kMostSide, kBadFile,
              "[video] {}: expected frames of up to {} a side, got {}x{}", decoder_.name(), kMostSide, width_,
              height_);
    AVRational rate = decoder_.stream().avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0) rate = decoder_.stream().r_frame_rate;
    WAN_CHECK(rate.num > 0 && rate.den > 0, kBadFile,
              "[video] {} does not say how many frames a second it has; save it again", decoder_.name());
    fps_ = av_q2d(rate);
  }

  int width() const override { return is_turned() ? height_ : width_; }
  int height() const override { return is_turned() ? width_ : height_; }
  double fps() const override { return fps_; }

  std::optional<VideoFrame> next() override {
    const AVFrame* const frame = decoder_.next();
    if (frame == nullptr) return {};
    WAN_CHECK(frame->width == width_ && frame->height == height_, kBadFile,
              "[video] {} changes from {}x{} to {}x{} on the way; save it again in one size", decoder_.name(),
              width_, height_, frame->width, frame->height);
    return VideoFrame{make_upright(to_rgb(*frame), orientation_), seconds_of(*frame)};
  }

 private:
  bool is_turned() const { return orientation_ >= 5; }

  double seconds_of(const AVFrame& frame) {
    const std::int64_t index = frames_++;
    if (frame.best_effort_timestamp == AV_NOPTS_VALUE) return static_cast<double>(index) / fps_;
    const double seconds =
        static_cast<double>(frame.best_effort_timestamp) * av_q2d(decoder_.stream().time_base);
    if (index == 0) first_ = seconds;
    return seconds - first_;
  }

  Image to_rgb(const AVFrame& frame) {
    scaler_.reset(sws_getCachedContext(scaler_.release(), width_, height_,
                                       static_cast<AVPixelFormat>(frame.format), width_, height_,
                                       AV_PIX_FMT_RGB24, SWS_BICUBIC, nullptr, nullptr, nullptr));
    WAN_CHECK(scaler_ != nullptr, kUnsupported,
              "[video] {}: frames of a pixel format that FFmpeg does not make RGB of; save it again",
              decoder_.name());
    set_colors(frame);
    Image image = make_image(width_, height_);
    std::uint8_t* const planes[4] = {image.rgb.data()};
    const int strides[4] = {static_cast<int>(image.row_bytes())};
    const int rows = sws_scale(scaler_.get(), frame.data, frame.linesize, 0, height_, planes, strides);
    WAN_CHECK(rows == height_, kInternal, "[video] {}: swscale gave {} of {} rows", decoder_.name(), rows,
              height_);
    return image;
  }

  /// AVCOL_SPC_... are swscale's numbers too; for those that it does not know it takes BT.601's.
  void set_colors(const AVFrame& frame) {
    int* from_table = nullptr;
    int* to_table = nullptr;
    int from_full = 0, to_full = 0, brightness = 0, contrast = 0, saturation = 0;
    if (sws_getColorspaceDetails(scaler_.get(), &from_table, &from_full, &to_table, &to_full, &brightness,
                                 &contrast, &saturation) < 0)
      return;  // RGB already
    const bool full = frame.color_range == AVCOL_RANGE_JPEG || from_full != 0;
    sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(frame.colorspace), full ? 1 : 0, to_table,
                             to_full, brightness, contrast, saturation);
  }

  StreamDecoder decoder_;
  int orientation_;
  int width_ = 0;
  int height_ = 0;
  double fps_ = 0;
  FfmpegPtr<SwsContext> scaler_;
  std::int64_t frames_ = 0;
  double first_ = 0;
};

}  // namespace

std::unique_ptr<VideoReader> open_video(const std::filesystem::path& path) {
  return std::make_unique<FfmpegVideo>(path);
}

}  // namespace wan
