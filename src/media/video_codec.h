#pragma once
// How a video is encoded in its file.

#include <optional>
#include <string_view>

namespace wan {

enum class VideoCodec { kH264, kH265, kAv1 };

/// "h264", "h265" or "av1". Throws InvalidArgument.
VideoCodec parse_video_codec(std::string_view name);
const char* video_codec_name(VideoCodec codec);

/// The quality that a video gets where none is asked for: the official one of H.264, and of the others what is near it.
int default_crf(VideoCodec codec);

struct VideoEncoding {
  VideoCodec codec = VideoCodec::kH264;
  /// Constant rate factor: 0 (best) to 51, of AV1 to 63; unset: default_crf().
  std::optional<int> crf;
};

/// Throws InvalidArgument for a crf that the codec does not have.
void check_encoding(const VideoEncoding& encoding);

}  // namespace wan
