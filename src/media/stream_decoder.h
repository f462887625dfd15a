#pragma once
// StreamDecoder: one stream of a media file, decoded frame by frame. Included by FFmpeg-built files only.

#include <filesystem>
#include <memory>

#include "media/ffmpeg_support.h"

namespace wan {

class StreamDecoder {
 public:
  /// Opens the first stream of the type that has a decoder; cover pictures are none. Reads the file at `path` alone: playlists,
  /// which name other files and addresses, are refused. Throws BadFile where it is missing, empty, damaged or has no such
  /// stream, Unsupported where this FFmpeg has no decoder.
  StreamDecoder(const std::filesystem::path& path, AVMediaType type);

  const AVStream& stream() const { return *stream_; }
  /// The file, for messages.
  const std::string& name() const { return name_; }

  /// The next frame, valid until the next call; nullptr after the last. Packets that are damaged are left out of a sound, with
  /// a warning; in a video they are BadFile, where the decoder notices.
  const AVFrame* next();

 private:
  struct CloseInput {
    void operator()(AVFormatContext* input) const { avformat_close_input(&input); }
  };

  void open_input();
  void open_stream(AVMediaType type);
  /// The stream's next packet, or the end, to the decoder.
  void send();
  void leave_out(int error);

  std::string name_;
  std::unique_ptr<AVFormatContext, CloseInput> input_;
  const AVStream* stream_ = nullptr;  // the input's
  FfmpegPtr<AVCodecContext> decoder_;
  FfmpegPtr<AVPacket> packet_;
  FfmpegPtr<AVFrame> frame_;
  bool sent_all_ = false;
  bool left_out_ = false;
};

}  // namespace wan
