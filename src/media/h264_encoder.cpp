#include "media/h264_encoder.h"

extern "C" {
#include <libavutil/opt.h>
}

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/log.h"

namespace wan {

namespace {

bool takes_yuv420p(const AVCodec& codec) {
  if (codec.pix_fmts == nullptr) return true;
  for (const AVPixelFormat* format = codec.pix_fmts; *format != AV_PIX_FMT_NONE; ++format) {
    if (*format == AV_PIX_FMT_YUV420P) return true;
  }
  return false;
}

/// Bits a second that leave no visible loss, for encoders that cannot be given a quality.
std::int64_t generous_bit_rate(const VideoFormat& format) {
  constexpr double kBitsPerPixel = 0.4;
  const double pixels = static_cast<double>(format.width) * format.height * format.fps;
  return std::max<std::int64_t>(1'000'000, static_cast<std::int64_t>(kBitsPerPixel * pixels));
}

void set_quality(AVCodecContext& context, const VideoFormat& format, const Mp4Options& options) {
  if (std::string_view(context.codec->name) != "libx264") {
    context.bit_rate = generous_bit_rate(format);
    return;
  }
  const auto set = [&](const char* name, const std::string& value) {
    const int result = av_opt_set(context.priv_data, name, value.c_str(), 0);
    WAN_CHECK(result >= 0, kInvalidArgument, "[mp4] libx264 refuses {}={}: {}", name, value,
              ffmpeg_error(result));
  };
  set("preset", options.preset);
  set("crf", std::to_string(options.crf));
}

}  // namespace

std::vector<const AVCodec*> h264_encoders(const std::string& preferred) {
  std::vector<const AVCodec*> found;
  void* position = nullptr;
  while (const AVCodec* codec = av_codec_iterate(&position)) {
    if (av_codec_is_encoder(codec) == 0 || codec->id != AV_CODEC_ID_H264 || !takes_yuv420p(*codec)) continue;
    if ((codec->capabilities & AV_CODEC_CAP_EXPERIMENTAL) != 0) continue;
    found.push_back(codec);
  }
  std::stable_partition(found.begin(), found.end(),
                        [&](const AVCodec* codec) { return codec->name == preferred; });
  return found;
}

void fail_without_encoder(const std::string& reason) {
  fail(
      ErrorCode::kUnsupported,
      "cannot write .mp4: no H.264 encoder ({}); install an FFmpeg with libx264, or write lossless frames to "
      "NAME_%05d.png",
      reason);
}

FfmpegPtr<AVCodecContext> open_h264_encoder(const std::vector<const AVCodec*>& candidates,
                                            const VideoFormat& format, FrameRate rate,
                                            const Mp4Options& options,
                                            const std::function<void(AVCodecContext&)>& prepare) {
  std::string reasons;
  for (const AVCodec* codec : candidates) {
    FfmpegPtr<AVCodecContext> context(avcodec_alloc_context3(codec));
    WAN_CHECK(context != nullptr, kOutOfMemory, "[mp4] no memory for the encoder {}", codec->name);
    context->width = format.width;
    context->height = format.height;
    context->pix_fmt = AV_PIX_FMT_YUV420P;
    context->sample_aspect_ratio = {1, 1};
    context->framerate = {rate.numerator, rate.denominator};
    context->time_base = {rate.denominator, rate.numerator};
    context->thread_count = options.threads;
    context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;  // MP4 keeps headers apart
    prepare(*context);
    set_quality(*context, format, options);
    const int result = avcodec_open2(context.get(), codec, nullptr);
    if (result >= 0) {
      if (codec->name != options.encoder) {
        log(LogLevel::kWarning, fmt::format("[mp4] {} cannot be used here; encoding with {} instead",
                                            options.encoder, codec->name));
      }
      return context;
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : ", ", codec->name, ffmpeg_error(result));
  }
  fail_without_encoder(reasons.empty() ? "this FFmpeg has none" : reasons);
}

}  // namespace wan
