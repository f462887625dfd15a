#pragma once
// Finding and opening a video encoder of FFmpeg's.

#include <functional>
#include <string>
#include <vector>

#include "media/ffmpeg_support.h"
#include "media/frame_rate.h"
#include "media/frame_sink.h"
#include "media/video_codec.h"

namespace wan {

/// Encoders of this FFmpeg for the codec that take yuv420p, in the order in which they are to be tried: those whose
/// settings are known, best first, then, unless a crf is asked for, the others.
std::vector<const AVCodec*> video_encoders(const VideoEncoding& encoding);

/// Throws Unsupported, with the codecs that there are and what to do instead, for `reason`.
[[noreturn]] void fail_without_encoder(const VideoEncoding& encoding, const std::string& reason);

/// The first of `candidates` that opens for this video; `prepare` adds to the context before it is opened
/// (colour tags). Logs a warning when it is not the one that the codec is usually encoded with. Throws Unsupported with
/// every one's reason when none does.
FfmpegPtr<AVCodecContext> open_video_encoder(const std::vector<const AVCodec*>& candidates,
                                             const VideoFormat& format, FrameRate rate,
                                             const VideoEncoding& encoding,
                                             const std::function<void(AVCodecContext&)>& prepare);

}  // namespace wan
