#pragma once
// H.264 video in an MP4 file, through FFmpeg's libraries where the build has them.

#include <filesystem>
#include <memory>
#include <string>

#include "media/frame_sink.h"
#include "media/metadata.h"

namespace wan {

struct Mp4Options {
  // The official save_video asks imageio for quality 8, which is CRF int((1 - 8 / 10) * 51).
  int crf = 10;
  std::string preset = "medium";
  // Fixed: x264's output depends on the number of threads, and a seed is to give the same bytes everywhere.
  int threads = 4;
  // Tried first; any other H.264 encoder of this FFmpeg after it (without crf, preset and equal bytes).
  std::string encoder = "libx264";
};

/// Throws Unsupported, with what to do instead, where this build or its FFmpeg has no H.264 encoder. Opens
/// nothing.
void check_mp4_supported();

/// A video of format.fps, yuv420p in limited range, colours as video_color.h says and tagged so, its index at
/// the front of the file. `metadata` is written key by key, with `title` and `comment` added (players and
/// ffprobe show them). With libx264 equal input gives equal bytes. Encodes in the caller's thread. Throws
/// InvalidArgument for odd sizes, Unsupported as check_mp4_supported(), Io naming the file and the reason.
std::unique_ptr<FrameSink> make_mp4_writer(const std::filesystem::path& path, const VideoFormat& format,
                                           const Metadata& metadata, const Mp4Options& options);

}  // namespace wan
