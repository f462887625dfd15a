#pragma once
// Owners for FFmpeg's objects and the texts of its errors. Included by FFmpeg-built files only.

#include <memory>
#include <string>

#include "base/error.h"
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

/// Sends a frame (null: the end) to an open encoder; write(packet) has each packet that comes out of it, in `packet`. Throws Internal where
/// the encoder fails.
template <typename Write>
void encode_frame(AVCodecContext& encoder, const AVFrame* frame, AVPacket& packet, const Write& write) {
  const auto check = [&](int result) {
    WAN_CHECK(result >= 0, kInternal, "[encoder] {} failed: {}", encoder.codec->name, ffmpeg_error(result));
  };
  check(avcodec_send_frame(&encoder, frame));
  while (true) {
    const int result = avcodec_receive_packet(&encoder, &packet);
    if (result == AVERROR(EAGAIN) || result == AVERROR_EOF) return;
    check(result);
    write(packet);
  }
}

}  // namespace wan
