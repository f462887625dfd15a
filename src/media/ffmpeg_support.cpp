#include "media/ffmpeg_support.h"

#include <mutex>
#include <string_view>

#include "base/error.h"
#include "base/log.h"

namespace wan {

namespace {

void log_line(void* source, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_INFO) return;
  char line[512];
  static thread_local int at_line_start = 1;
  av_log_format_line2(source, level, format, arguments, line, sizeof line, &at_line_start);
  std::string_view text(line);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (!text.empty()) log(LogLevel::kDebug, literal_text(text));
}

}  // namespace

void FfmpegDelete::operator()(AVFormatContext* context) const {
  if (context->pb != nullptr) avio_closep(&context->pb);
  avformat_free_context(context);
}

std::string ffmpeg_error(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

void quiet_ffmpeg() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(log_line); });
}

FfmpegPtr<AVFrame> new_frame(AVPixelFormat pixel_format, int width, int height) {
  FfmpegPtr<AVFrame> frame(av_frame_alloc());
  WAN_CHECK(frame != nullptr, kOutOfMemory, "[mp4] no memory for a frame of {}x{}", width, height);
  frame->format = pixel_format;
  frame->width = width;
  frame->height = height;
  WAN_CHECK(av_frame_get_buffer(frame.get(), 0) == 0, kOutOfMemory, "[mp4] no memory for a frame of {}x{}",
            width, height);
  return frame;
}

}  // namespace wan
