#pragma once
// Owners for FFmpeg's objects and the texts of its errors. Included by FFmpeg-built files only.

#include <memory>
#include <string>

#include "media/ffmpeg_library.h"

namespace wan {

struct FfmpegDelete {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(SwsContext* context) const { sws_freeContext(context); }
  /// Closes the file of an output context as well.
  void operator()(AVFormatContext* context) const;
};

template <typename T>
using FfmpegPtr = std::unique_ptr<T, FfmpegDelete>;

struct FfmpegOptions {
  FfmpegOptions() = default;
  ~FfmpegOptions() { av_dict_free(&entries); }
  FfmpegOptions(const FfmpegOptions&) = delete;
  FfmpegOptions& operator=(const FfmpegOptions&) = delete;
  AVDictionary* entries = nullptr;
};

/// The text of an AVERROR code ("No space left on device").
std::string ffmpeg_error(int code);

/// Sends FFmpeg's messages to wan::log at debug level, once for the process: what matters of them is thrown.
void quiet_ffmpeg();

/// A frame with memory of its own. Throws OutOfMemory.
FfmpegPtr<AVFrame> new_frame(AVPixelFormat pixel_format, int width, int height);

}  // namespace wan
