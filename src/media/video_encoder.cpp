#include "media/video_encoder.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace wan {

namespace {

// Fixed: x264's and x265's output depends on the number of threads, and a seed is to give the same bytes everywhere.
constexpr int kThreads = 4;

struct KnownEncoder {
  std::string_view name;
  VideoCodec codec;
  std::vector<std::pair<const char*, const char*>> options;  // beside crf, which all of them take
};

/// Each codec's encoders, in the order in which they are tried. x265 writes the machine's processor into the video unless told not
/// to, and to standard error past FFmpeg's log.
const std::vector<KnownEncoder>& known_encoders() {
  static const std::vector<KnownEncoder> encoders = {
      {"libx264", VideoCodec::kH264, {{"preset", "medium"}}},
      {"libx265",
       VideoCodec::kH265,
       {{"preset", "medium"}, {"x265-params", "log-level=none:info=0:pools=4"}}},
      {"libsvtav1", VideoCodec::kAv1, {{"preset", "6"}}},
      {"libaom-av1", VideoCodec::kAv1, {{"cpu-used", "6"}, {"row-mt", "1"}}}};
  return encoders;
}

const KnownEncoder* find_known(std::string_view name) {
  const auto& known = known_encoders();
  const auto found = std::ranges::find(known, name, &KnownEncoder::name);
  return found == known.end() ? nullptr : &*found;
}

AVCodecID codec_id(VideoCodec codec) {
  switch (codec) {
    case VideoCodec::kH265:
      return AV_CODEC_ID_HEVC;
    case VideoCodec::kAv1:
      return AV_CODEC_ID_AV1;
    case VideoCodec::kH264:
      break;
  }
  return AV_CODEC_ID_H264;
}

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

void set_quality(AVCodecContext& context, const VideoFormat& format, const VideoEncoding& encoding) {
  const KnownEncoder* const known = find_known(context.codec->name);
  if (known == nullptr) {
    context.bit_rate = generous_bit_rate(format);
    return;
  }
  context.bit_rate = 0;  // or libaom-av1 holds to FFmpeg's default rate beside the quality
  const auto set = [&](const char* name, const std::string& value) {
    const int result = av_opt_set(context.priv_data, name, value.c_str(), 0);
    WAN_CHECK(result >= 0, kInvalidArgument, "[mp4] {} refuses {}={}: {}", known->name, name, value,
              ffmpeg_error(result));
  };
  for (const auto& [name, value] : known->options) set(name, value);
  set("crf", std::to_string(encoding.crf.value_or(default_crf(encoding.codec))));
}

/// "h264, av1": what of an encoding's codecs this FFmpeg has.
std::string codecs_there() {
  std::string names;
  for (const VideoCodec codec : {VideoCodec::kH264, VideoCodec::kH265, VideoCodec::kAv1})
    if (!video_encoders({codec, {}}).empty())
      names += fmt::format("{}{}", names.empty() ? "" : ", ", video_codec_name(codec));
  return names;
}

}  // namespace

std::vector<const AVCodec*> video_encoders(const VideoEncoding& encoding) {
  std::vector<const AVCodec*> found;
  void* position = nullptr;
  while (const AVCodec* codec = av_codec_iterate(&position)) {
    if (av_codec_is_encoder(codec) == 0 || codec->id != codec_id(encoding.codec) || !takes_yuv420p(*codec))
      continue;
    if ((codec->capabilities & AV_CODEC_CAP_EXPERIMENTAL) != 0) continue;
    if (encoding.crf && find_known(codec->name) == nullptr) continue;
    found.push_back(codec);
  }
  const auto place = [](const AVCodec* codec) {
    const KnownEncoder* const known = find_known(codec->name);
    return known == nullptr ? known_encoders().size()
                            : static_cast<std::size_t>(known - known_encoders().data());
  };
  std::ranges::stable_sort(found, {}, place);
  return found;
}

void fail_without_encoder(const VideoEncoding& encoding, const std::string& reason) {
  const bool without_crf = encoding.crf && !video_encoders({encoding.codec, {}}).empty();
  WAN_CHECK(!without_crf, kUnsupported, "`crf`: no {} encoder of this FFmpeg takes one ({}); leave it out",
            video_codec_name(encoding.codec), reason);
  const std::string others = codecs_there();
  fail(ErrorCode::kUnsupported,
       "cannot write .mp4: no {} encoder ({}); {}install an FFmpeg with {}, or write lossless frames to "
       "NAME_%05d.png",
       video_codec_name(encoding.codec), reason,
       MessagePart{others.empty() ? "" : format_message("choose a `codec` that there is ({}), ", others)},
       std::ranges::find(known_encoders(), encoding.codec, &KnownEncoder::codec)->name);
}

FfmpegPtr<AVCodecContext> open_video_encoder(const std::vector<const AVCodec*>& candidates,
                                             const VideoFormat& format, FrameRate rate,
                                             const VideoEncoding& encoding,
                                             const std::function<void(AVCodecContext&)>& prepare) {
  const std::string_view usual =
      std::ranges::find(known_encoders(), encoding.codec, &KnownEncoder::codec)->name;
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
    context->thread_count = kThreads;
    context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;  // MP4 keeps headers apart
    prepare(*context);
    set_quality(*context, format, encoding);
    const int result = avcodec_open2(context.get(), codec, nullptr);
    if (result >= 0) {
      if (codec->name != usual)
        log(LogLevel::kWarning,
            format_message("[mp4] {} cannot be used here; encoding with {} instead", usual, codec->name));
      return context;
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : ", ", codec->name, ffmpeg_error(result));
  }
  fail_without_encoder(encoding, reasons.empty() ? "this FFmpeg has none" : reasons);
}

}  // namespace wan
