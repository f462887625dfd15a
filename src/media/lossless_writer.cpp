#include "media/lossless_writer.h"

#include <bit>
#include <cstring>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "media/ffmpeg_support.h"
#include "media/frame_rate.h"
#include "media/sound_source.h"
#include "media/threaded_sink.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little);

/// The samples of a sound as they come, in packets of floats.
class SoundPackets {
 public:
  explicit SoundPackets(const SoundTrack& track) : part_(track.file, track.start, track.duration) {}

  int rate() const { return part_.rate(); }

  void describe(AVCodecParameters& parameters) const {
    parameters.codec_type = AVMEDIA_TYPE_AUDIO;
    parameters.codec_id = AV_CODEC_ID_PCM_F32LE;
    parameters.format = AV_SAMPLE_FMT_FLT;
    parameters.sample_rate = part_.rate();
    parameters.bits_per_coded_sample = 32;
    parameters.block_align = 4 * part_.channels();
    const bool named = part_.channel_mask() != 0 &&
                       av_channel_layout_from_mask(&parameters.ch_layout, part_.channel_mask()) == 0 &&
                       parameters.ch_layout.nb_channels == part_.channels();
    if (!named) av_channel_layout_default(&parameters.ch_layout, part_.channels());
  }

  /// What is heard before `seconds`, some samples at a time.
  template <typename Write>
  void write_until(double seconds, const Write& write) {
    const auto end = static_cast<std::int64_t>(seconds * part_.rate());
    while (written_ < end) {
      if (taken_ == waiting_count() && !read()) return;
      const std::size_t count = std::min(waiting_count() - taken_, static_cast<std::size_t>(end - written_));
      FfmpegPtr<AVPacket> packet(av_packet_alloc());
      const std::size_t channels = waiting_.size();
      WAN_CHECK(packet != nullptr && av_new_packet(packet.get(), static_cast<int>(4 * count * channels)) == 0,
                kOutOfMemory, "[sound] no memory for {} samples", count);
      for (std::size_t i = 0; i < count; ++i)
        for (std::size_t channel = 0; channel < channels; ++channel)
          std::memcpy(packet->data + 4 * (i * channels + channel), &waiting_[channel][taken_ + i], 4);
      packet->pts = packet->dts = written_;
      packet->duration = static_cast<std::int64_t>(count);
      taken_ += count;
      written_ += static_cast<std::int64_t>(count);
      write(*packet);
    }
  }

 private:
  std::size_t waiting_count() const { return waiting_.empty() ? 0 : waiting_.front().size(); }
  bool read() {
    taken_ = 0;
    return part_.read(waiting_);
  }

  SoundPart part_;
  SoundSamples waiting_;
  std::size_t taken_ = 0;
  std::int64_t written_ = 0;
};

class LosslessWriter final : public FrameSink {
 public:
  LosslessWriter(const fs::path& path, const VideoFormat& format, const std::optional<SoundTrack>& sound)
      : file_(path), format_(format), rate_(frame_rate_of(format.fps)), packet_(av_packet_alloc()) {
    WAN_CHECK(packet_ != nullptr, kOutOfMemory, "[video] no memory for a packet");
    if (sound) sound_.emplace(*sound);
    open_encoder();
    open_file();
  }

  void write(const std::uint8_t* rgb) override {
    if (sound_) write_sound(frames_ + 1);
    const FfmpegPtr<AVFrame> frame = new_frame(AV_PIX_FMT_BGR0, format_.width, format_.height);
    for (int y = 0; y < format_.height; ++y) {
      std::uint8_t* to = frame->data[0] + std::ptrdiff_t{y} * frame->linesize[0];
      for (int x = 0; x < format_.width; ++x, rgb += 3, to += 4) {
        to[0] = rgb[2];
        to[1] = rgb[1];
        to[2] = rgb[0];
        to[3] = 0;
      }
    }
    frame->pts = frames_++;
    encode(frame.get());
  }

  void finish() override {
    WAN_CHECK(frames_ == format_.frame_count, kInternal, "[video] {}: {} frames of {}",
              file_.target().string(), frames_, format_.frame_count);
    encode(nullptr);
    check_io(av_write_trailer(muxer_.get()));
    check_io(muxer_->pb->error);
    check_io(avio_closep(&muxer_->pb));
    file_.commit();
  }

 private:
  void open_encoder() {
    const AVCodec* const codec = avcodec_find_encoder(AV_CODEC_ID_FFV1);
    WAN_CHECK(codec != nullptr, kUnsupported,
              "this FFmpeg has no FFV1 encoder, by which videos are kept without loss");
    encoder_.reset(avcodec_alloc_context3(codec));
    WAN_CHECK(encoder_ != nullptr, kOutOfMemory, "[video] no memory for the encoder");
    encoder_->width = format_.width;
    encoder_->height = format_.height;
    encoder_->pix_fmt = AV_PIX_FMT_BGR0;
    encoder_->time_base = {rate_.denominator, rate_.numerator};
    encoder_->framerate = {rate_.numerator, rate_.denominator};
    encoder_->level = 3;
    encoder_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    encoder_->thread_count = 0;
    const int result = avcodec_open2(encoder_.get(), codec, nullptr);
    WAN_CHECK(result >= 0, kUnsupported, "FFmpeg's FFV1 encoder does not open: {}", ffmpeg_error(result));
  }

  void open_file() {
    const std::string url = "file:" + file_.temporary_path().string();
    AVFormatContext* muxer = nullptr;
    avformat_alloc_output_context2(&muxer, nullptr, "matroska", url.c_str());
    WAN_CHECK(muxer != nullptr, kUnsupported, "this FFmpeg has no Matroska writer");
    muxer_.reset(muxer);
    muxer_->flags |= AVFMT_FLAG_BITEXACT;
    video_ = add_stream();
    WAN_ASSERT(avcodec_parameters_from_context(video_->codecpar, encoder_.get()) >= 0);
    video_->time_base = encoder_->time_base;
    video_->avg_frame_rate = encoder_->framerate;
    if (sound_) {
      sound_stream_ = add_stream();
      sound_->describe(*sound_stream_->codecpar);
      sound_stream_->time_base = {1, sound_->rate()};
    }
    check_io(avio_open(&muxer_->pb, url.c_str(), AVIO_FLAG_WRITE));
    check_io(avformat_write_header(muxer, nullptr));
  }

  AVStream* add_stream() {
    AVStream* const stream = avformat_new_stream(muxer_.get(), nullptr);
    WAN_CHECK(stream != nullptr, kOutOfMemory, "[video] no memory for a stream");
    return stream;
  }

  void write_sound(std::int64_t frames) {
    sound_->write_until(static_cast<double>(frames) * rate_.denominator / rate_.numerator,
                        [&](AVPacket& packet) {
                          packet.stream_index = sound_stream_->index;
                          av_packet_rescale_ts(&packet, {1, sound_->rate()}, sound_stream_->time_base);
                          check_io(av_interleaved_write_frame(muxer_.get(), &packet));
                        });
  }

  void encode(const AVFrame* frame) {
    encode_frame(*encoder_, frame, *packet_, [&](AVPacket& packet) {
      packet.stream_index = video_->index;
      packet.duration = 1;  // of the encoder's time base: a frame
      av_packet_rescale_ts(&packet, encoder_->time_base, video_->time_base);
      check_io(av_interleaved_write_frame(muxer_.get(), &packet));
    });
  }

  void check_io(int result) const {
    WAN_CHECK(result >= 0, kIo, "cannot write {}: {}", file_.target().string(), ffmpeg_error(result));
  }

  AtomicFile file_;  // destroyed last: its temporary file is removed after it has been closed
  VideoFormat format_;
  FrameRate rate_;
  FfmpegPtr<AVCodecContext> encoder_;
  FfmpegPtr<AVPacket> packet_;
  FfmpegPtr<AVFormatContext> muxer_;
  AVStream* video_ = nullptr;         // owned by muxer_
  AVStream* sound_stream_ = nullptr;  // likewise
  std::optional<SoundPackets> sound_;
  std::int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> make_lossless_writer(const fs::path& path, const VideoFormat& format,
                                                const std::optional<SoundTrack>& sound) {
  quiet_ffmpeg();
  constexpr int kMaxSide = 16384;
  WAN_CHECK(format.width > 0 && format.height > 0 && format.width <= kMaxSide && format.height <= kMaxSide,
            kInvalidArgument, "cannot write {}: expected sizes up to {}, got {}x{}", path.string(), kMaxSide,
            format.width, format.height);
  return make_threaded_sink(std::make_unique<LosslessWriter>(path, format, sound), frame_bytes(format), 4);
}

}  // namespace wan
