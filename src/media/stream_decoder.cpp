#include "media/stream_decoder.h"

#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace wan {

namespace {

const char* word_for(AVMediaType type) {
  return type == AVMEDIA_TYPE_AUDIO ? "sound" : "video";
}

/// Formats that have a sound or a video in them. Others name files and addresses that nobody has named, and read them as soon as they
/// are opened.
constexpr const char* kFormats =
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mp3,mpc,"
    "mpc8,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,oma,rm,tak,tta,voc,w64,wav,wv";

}  // namespace

StreamDecoder::StreamDecoder(const std::filesystem::path& path, AVMediaType type)
    : name_(path.string()), packet_(av_packet_alloc()), frame_(av_frame_alloc()) {
  WAN_CHECK(packet_ != nullptr && frame_ != nullptr, kOutOfMemory, "[{}] no memory for a packet",
            word_for(type));
  quiet_ffmpeg();
  const FileKind kind = file_kind(path);
  WAN_CHECK(kind != FileKind::kNothing, kBadFile, "cannot open {}: there is no such file", name_);
  WAN_CHECK(kind == FileKind::kRegular, kBadFile, "cannot read {}: it is {}, not a file", name_,
            file_kind_name(kind));
  open_input();
  open_stream(type);
}

void StreamDecoder::open_input() {
  FfmpegOptions options;
  av_dict_set(&options.entries, "protocol_whitelist", "file", 0);
  av_dict_set(&options.entries, "format_whitelist", kFormats, 0);
  AVFormatContext* input = nullptr;
  // "file:" keeps names with a colon from being read as addresses.
  int result = avformat_open_input(&input, ("file:" + name_).c_str(), nullptr, &options.entries);
  input_.reset(input);
  if (result >= 0) result = avformat_find_stream_info(input, nullptr);
  WAN_CHECK(result >= 0, kBadFile,
            "cannot read {}: {}; it is damaged, empty, a list of other files, or no sound or video at all",
            name_, ffmpeg_error(result));
}

void StreamDecoder::open_stream(AVMediaType type) {
  const char* const word = word_for(type);
  const AVCodec* codec = nullptr;
  std::string codec_name;
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    AVStream& stream = *input_->streams[i];
    stream.discard = AVDISCARD_ALL;
    if (stream_ != nullptr || stream.codecpar->codec_type != type) continue;
    if ((stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) continue;
    codec_name = avcodec_get_name(stream.codecpar->codec_id);
    codec = avcodec_find_decoder(stream.codecpar->codec_id);
    if (codec == nullptr) continue;
    stream.discard = AVDISCARD_DEFAULT;
    stream_ = &stream;
  }
  WAN_CHECK(!codec_name.empty(), kBadFile, "{} has no {} in it; give another file", name_, word);
  WAN_CHECK(stream_ != nullptr, kUnsupported, "{}: this FFmpeg has no decoder for {}; convert it to {}",
            name_, codec_name, type == AVMEDIA_TYPE_AUDIO ? "WAV" : "H.264");
  decoder_.reset(avcodec_alloc_context3(codec));
  WAN_CHECK(decoder_ != nullptr, kOutOfMemory, "[{}] no memory for a decoder", word);
  int result = avcodec_parameters_to_context(decoder_.get(), stream_->codecpar);
  decoder_->pkt_timebase = stream_->time_base;
  constexpr int kThreads = 4;
  if (type == AVMEDIA_TYPE_VIDEO) {
    decoder_->thread_count = kThreads;
    decoder_->err_recognition = AV_EF_EXPLODE;  // it would make up what it cannot decode
  }
  if (result >= 0) result = avcodec_open2(decoder_.get(), codec, nullptr);
  WAN_CHECK(result >= 0, kBadFile, "{}: its {} ({}) cannot be decoded: {}; save it again", name_, word,
            codec->name, ffmpeg_error(result));
}

const AVFrame* StreamDecoder::next() {
  while (true) {
    av_frame_unref(frame_.get());
    const int result = avcodec_receive_frame(decoder_.get(), frame_.get());
    if (result == 0) {
      const bool damaged = frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0;
      if (decoder_->codec_type == AVMEDIA_TYPE_VIDEO && damaged) leave_out(AVERROR_INVALIDDATA);
      return frame_.get();
    }
    if (result == AVERROR_EOF) return nullptr;
    if (result != AVERROR(EAGAIN)) {
      leave_out(result);
    } else {
      if (sent_all_) return nullptr;
      send();
    }
  }
}

void StreamDecoder::send() {
  av_packet_unref(packet_.get());
  int result = av_read_frame(input_.get(), packet_.get());
  if (result == AVERROR_EOF) {
    sent_all_ = true;
    avcodec_send_packet(decoder_.get(), nullptr);
    return;
  }
  WAN_CHECK(result >= 0, kBadFile, "cannot read {}: {}; it is cut short or damaged", name_,
            ffmpeg_error(result));
  if (packet_->stream_index != stream_->index) return;
  result = avcodec_send_packet(decoder_.get(), packet_.get());
  if (result < 0 && result != AVERROR_EOF) leave_out(result);
}

void StreamDecoder::leave_out(int error) {
  WAN_CHECK(error != AVERROR(ENOMEM), kOutOfMemory, "{}: not enough memory to decode it", name_);
  WAN_CHECK(decoder_->codec_type == AVMEDIA_TYPE_AUDIO, kBadFile,
            "{}: a part of its video cannot be decoded ({}); it is damaged, save it again", name_,
            ffmpeg_error(error));
  if (!left_out_)
    log(LogLevel::kWarning, format_message("{}: parts of its sound cannot be decoded ({}) and are left out",
                                           name_, ffmpeg_error(error)));
  left_out_ = true;
}

}  // namespace wan
