#pragma once
// Finding and opening an H.264 encoder of FFmpeg's.

#include <functional>
#include <vector>

#include "media/ffmpeg_support.h"
#include "media/frame_rate.h"
#include "media/mp4_writer.h"

namespace wan {

/// H.264 encoders of this FFmpeg that take yuv420p: `preferred` first where it is there, then the others.
std::vector<const AVCodec*> h264_encoders(const std::string& preferred);

/// Throws Unsupported, with what to do instead, for `reason`.
[[noreturn]] void fail_without_encoder(const std::string& reason);

/// The first of `candidates` that opens for this video; `prepare` adds to the context before it is opened
/// (colour tags). Logs a warning when it is not options.encoder. Throws Unsupported with every one's reason
/// when none does.
FfmpegPtr<AVCodecContext> open_h264_encoder(const std::vector<const AVCodec*>& candidates,
                                            const VideoFormat& format, FrameRate rate,
                                            const Mp4Options& options,
                                            const std::function<void(AVCodecContext&)>& prepare);

}  // namespace wan
