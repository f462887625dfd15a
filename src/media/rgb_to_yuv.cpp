#include "media/rgb_to_yuv.h"

#include "base/error.h"
#include "media/video_color.h"

namespace wan {

namespace {

// Matters only for the tags: sRGB has BT.709's primaries, and BT.709's transfer is what players expect of
// 8-bit RGB put into video unchanged.
constexpr AVColorPrimaries kPrimaries = AVCOL_PRI_BT709;
constexpr AVColorTransferCharacteristic kTransfer = AVCOL_TRC_BT709;
constexpr AVChromaLocation kChromaLocation = AVCHROMA_LOC_LEFT;

AVColorSpace matrix_of(bool bt709) {
  return bt709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
}

}  // namespace

RgbToYuv::RgbToYuv(int width, int height)
    : width_(width),
      height_(height),
      bt709_(is_bt709(width, height)),
      scaler_(sws_alloc_context()),
      source_(new_frame(AV_PIX_FMT_RGB24, width, height)) {
  WAN_CHECK(scaler_ != nullptr, kOutOfMemory, "[mp4] no memory for the colour conversion");
  // Chroma from all pixels, exact rounding, the same result with every instruction set.
  const int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_FULL_CHR_H_INT | SWS_BITEXACT;
  const auto set = [&](const char* name, int value) {
    WAN_ASSERT(av_opt_set_int(scaler_.get(), name, value, 0) >= 0);
  };
  set("srcw", width);
  set("srch", height);
  set("src_format", AV_PIX_FMT_RGB24);
  set("dstw", width);
  set("dsth", height);
  set("dst_format", AV_PIX_FMT_YUV420P);
  set("sws_flags", flags);
  set("dst_h_chr_pos", 0);    // in 1/256 of a luma sample: on the left one of each pair,
  set("dst_v_chr_pos", 128);  // and between two rows
  WAN_CHECK(sws_init_context(scaler_.get(), nullptr, nullptr) >= 0, kInternal,
            "[mp4] swscale refuses to convert {}x{}", width, height);
  const int* coefficients = sws_getCoefficients(bt709_ ? SWS_CS_ITU709 : SWS_CS_SMPTE170M);
  constexpr int kLimitedRange = 0, kFullRange = 1, kNeutral = 1 << 16;
  WAN_CHECK(sws_setColorspaceDetails(scaler_.get(), coefficients, kFullRange, coefficients, kLimitedRange, 0,
                                     kNeutral, kNeutral) >= 0,
            kInternal, "[mp4] swscale refuses the colour matrix");
}

FfmpegPtr<AVFrame> RgbToYuv::convert(const std::uint8_t* rgb) {
  av_image_copy_plane(source_->data[0], source_->linesize[0], rgb, width_ * 3, width_ * 3, height_);
  FfmpegPtr<AVFrame> frame = new_frame(AV_PIX_FMT_YUV420P, width_, height_);
  const int rows =
      sws_scale(scaler_.get(), source_->data, source_->linesize, 0, height_, frame->data, frame->linesize);
  WAN_CHECK(rows == height_, kInternal, "[mp4] swscale converted {} of {} rows", rows, height_);
  frame->color_range = AVCOL_RANGE_MPEG;
  frame->colorspace = matrix_of(bt709_);
  frame->color_primaries = kPrimaries;
  frame->color_trc = kTransfer;
  frame->chroma_location = kChromaLocation;
  return frame;
}

void RgbToYuv::tag(AVCodecContext& context) const {
  context.color_range = AVCOL_RANGE_MPEG;
  context.colorspace = matrix_of(bt709_);
  context.color_primaries = kPrimaries;
  context.color_trc = kTransfer;
  context.chroma_sample_location = kChromaLocation;
}

}  // namespace wan
