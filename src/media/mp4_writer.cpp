#include "media/mp4_writer.h"

#include <cerrno>
#include <cstring>

#include "base/atomic_file.h"
#include "base/error.h"
#include "media/rgb_to_yuv.h"
#include "media/sound_encoder.h"
#include "media/video_encoder.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

class Mp4Writer final : public FrameSink {
 public:
  Mp4Writer(const fs::path& path, const VideoFormat& format, const Metadata& metadata,
            const VideoEncoding& encoding, const std::optional<SoundTrack>& sound)
      : file_(path),
        converter_(format.width, format.height),
        encoder_(open_video_encoder(video_encoders(encoding), format, frame_rate_of(format.fps), encoding,
                                    [this](AVCodecContext& context) { converter_.tag(context); })),
        packet_(av_packet_alloc()) {
    WAN_CHECK(packet_ != nullptr, kOutOfMemory, "[mp4] no memory for a packet");
    if (sound) {
      sound_.emplace(*sound, frame_rate_of(format.fps));
      ends_with_sound_ = sound->ends_video;
    }
    open_file(metadata);
  }

  void write(const std::uint8_t* rgb) override {
    if (sound_) {
      if (ends_with_sound_ && frames_ > 0 && sound_->is_over_at(frames_)) return;
      sound_->encode_until(frames_ + 1, [this](AVPacket& packet) { write_sound(packet); });
    }
    FfmpegPtr<AVFrame> frame = converter_.convert(rgb);
    frame->pts = frames_++;
    encode(frame.get());
  }

  void finish() override {
    if (sound_) sound_->finish([this](AVPacket& packet) { write_sound(packet); });
    encode(nullptr);
    check_io(av_write_trailer(muxer_.get()));
    check_io(muxer_->pb->error);
    check_io(avio_closep(&muxer_->pb));
    file_.commit();
  }

 private:
  void open_file(const Metadata& metadata) {
    // "file:" keeps names with a colon from being read as addresses.
    const std::string url = "file:" + file_.temporary_path().string();
    AVFormatContext* muxer = nullptr;
    avformat_alloc_output_context2(&muxer, nullptr, "mp4", url.c_str());
    WAN_CHECK(muxer != nullptr, kUnsupported,
              "cannot write .mp4: this FFmpeg has no MP4 writer; write NAME_%05d.png");
    muxer_.reset(muxer);
    muxer_->flags |= AVFMT_FLAG_BITEXACT;  // neither times nor the library's version
    stream_ = avformat_new_stream(muxer, nullptr);
    WAN_CHECK(stream_ != nullptr, kOutOfMemory, "[mp4] no memory for a stream");
    WAN_ASSERT(avcodec_parameters_from_context(stream_->codecpar, encoder_.get()) >= 0);
    // Apple's players know H.265 by this name alone.
    if (encoder_->codec_id == AV_CODEC_ID_HEVC) stream_->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1');
    stream_->time_base = encoder_->time_base;
    stream_->avg_frame_rate = encoder_->framerate;
    if (sound_) add_sound_stream();
    for (const auto& [key, value] : with_title_and_comment(metadata, "title", "comment")) {
      av_dict_set(&muxer_->metadata, key.c_str(), value.c_str(), AV_DICT_MATCH_CASE);
    }
    check_io(avio_open(&muxer_->pb, url.c_str(), AVIO_FLAG_WRITE));
    FfmpegOptions options;
    av_dict_set(&options.entries, "movflags", "+faststart+use_metadata_tags", 0);
    check_io(avformat_write_header(muxer, &options.entries));
  }

  void add_sound_stream() {
    sound_stream_ = avformat_new_stream(muxer_.get(), nullptr);
    WAN_CHECK(sound_stream_ != nullptr, kOutOfMemory, "[mp4] no memory for a stream");
    WAN_ASSERT(avcodec_parameters_from_context(sound_stream_->codecpar, &sound_->context()) >= 0);
    sound_stream_->time_base = sound_->context().time_base;
  }

  void write_sound(AVPacket& packet) {
    packet.stream_index = sound_stream_->index;
    av_packet_rescale_ts(&packet, sound_->context().time_base, sound_stream_->time_base);
    check_io(av_interleaved_write_frame(muxer_.get(), &packet));
  }

  /// Sends one frame (null: the end) to the encoder, and what comes out of it to the file.
  void encode(const AVFrame* frame) {
    encode_frame(*encoder_, frame, *packet_, [&](AVPacket& packet) {
      packet.stream_index = stream_->index;
      packet.duration = 1;  // of the encoder's time base: a frame
      av_packet_rescale_ts(&packet, encoder_->time_base, stream_->time_base);
      check_io(av_interleaved_write_frame(muxer_.get(), &packet));
    });
  }

  void check_io(int result) const {
    WAN_CHECK(result >= 0, kIo, "cannot write {}: {}", file_.target().string(), ffmpeg_error(result));
  }

  AtomicFile file_;  // destroyed last: its temporary file is removed after it has been closed
  RgbToYuv converter_;
  FfmpegPtr<AVCodecContext> encoder_;
  FfmpegPtr<AVPacket> packet_;
  FfmpegPtr<AVFormatContext> muxer_;
  AVStream* stream_ = nullptr;  // owned by muxer_
  std::optional<SoundEncoder> sound_;
  bool ends_with_sound_ = false;
  AVStream* sound_stream_ = nullptr;  // likewise
  std::int64_t frames_ = 0;
};

}  // namespace

void check_mp4_supported(const VideoEncoding& encoding, const std::optional<SoundTrack>& sound) {
  if (sound) check_sound_encoder();
  if (video_encoders(encoding).empty()) fail_without_encoder(encoding, "this FFmpeg has none");
}

std::unique_ptr<FrameSink> make_mp4_writer(const fs::path& path, const VideoFormat& format,
                                           const Metadata& metadata, const VideoEncoding& encoding,
                                           const std::optional<SoundTrack>& sound) {
  quiet_ffmpeg();
  check_metadata(metadata);
  check_encoding(encoding);
  constexpr int kMaxSide = 16384;
  WAN_CHECK(format.width > 0 && format.height > 0 && format.width <= kMaxSide && format.height <= kMaxSide &&
                format.width % 2 == 0 && format.height % 2 == 0,
            kInvalidArgument, "cannot write {}: expected even sizes up to {}, got {}x{}", path.string(),
            kMaxSide, format.width, format.height);
  return std::make_unique<Mp4Writer>(path, format, metadata, encoding, sound);
}

}  // namespace wan
