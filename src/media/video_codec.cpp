#include "media/video_codec.h"

#include "base/error.h"
#include "base/untrusted_text.h"

namespace wan {

namespace {

struct CodecFacts {
  const char* name;
  int default_crf;
  int largest_crf;
};

// The official save_video asks imageio for quality 8, which is libx264's CRF int((1 - 8 / 10) * 51) = 10: 57.8 dB on smooth
// moving texture, 51.2 dB with grain on it. At these x265 has 58.0 and 48.8 dB, SVT-AV1 56.3 and 46.5: it keeps grain at no
// CRF. Wan2GP's default is H.264 of the same quality 8; ComfyUI's VideoHelperSuite takes 19, 22 and 23.
CodecFacts facts(VideoCodec codec) {
  switch (codec) {
    case VideoCodec::kH265:
      return {"h265", 10, 51};
    case VideoCodec::kAv1:
      return {"av1", 8, 63};
    case VideoCodec::kH264:
      break;
  }
  return {"h264", 10, 51};
}

}  // namespace

VideoCodec parse_video_codec(std::string_view name) {
  for (const VideoCodec codec : {VideoCodec::kH264, VideoCodec::kH265, VideoCodec::kAv1})
    if (name == video_codec_name(codec)) return codec;
  fail(ErrorCode::kInvalidArgument, "`codec` {}: expected h264, h265 or av1", shortened(name));
}

const char* video_codec_name(VideoCodec codec) {
  return facts(codec).name;
}

int default_crf(VideoCodec codec) {
  return facts(codec).default_crf;
}

void check_encoding(const VideoEncoding& encoding) {
  const auto [name, usual, largest] = facts(encoding.codec);
  WAN_CHECK(!encoding.crf || (*encoding.crf >= 0 && *encoding.crf <= largest), kInvalidArgument,
            "`crf` {}: expected 0 (best) to {} of {}; {} is the default", encoding.crf.value_or(0), largest,
            name, usual);
}

}  // namespace wan
