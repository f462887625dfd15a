#include "media/sound_encoder.h"

#include <algorithm>

#include "base/error.h"

namespace wan {

namespace {

constexpr int kSoundBitRate = 192'000;  // the official one
constexpr int kUsualRate = 48'000;

const AVCodec* find_sound_encoder() {
  return avcodec_find_encoder(AV_CODEC_ID_AAC);
}

/// The sound's own rate where AAC has it.
int encoded_rate(const AVCodec& codec, int rate) {
  if (codec.supported_samplerates == nullptr) return rate;
  for (const int* known = codec.supported_samplerates; *known != 0; ++known)
    if (*known == rate) return rate;
  return kUsualRate;
}

}  // namespace

void check_sound_encoder() {
  WAN_CHECK(find_sound_encoder() != nullptr, kUnsupported,
            "cannot write .mp4 with sound: this FFmpeg has no AAC encoder; install one that has, or write "
            "lossless frames to NAME_%05d.png");
}

void SoundEncoder::FreeResampler::operator()(SwrContext* resampler) const {
  swr_free(&resampler);
}

SoundEncoder::SoundEncoder(const SoundTrack& track, FrameRate rate)
    : sound_(track.file, track.start, track.duration), rate_(rate), packet_(av_packet_alloc()) {
  WAN_CHECK(packet_ != nullptr, kOutOfMemory, "[mp4] no memory for a packet");
  check_sound_encoder();
  open_encoder();
  open_resampler();
  const auto channels = static_cast<std::size_t>(encoder_->ch_layout.nb_channels);
  waiting_.resize(channels);
}

void SoundEncoder::open_encoder() {
  const AVCodec* const codec = find_sound_encoder();
  encoder_.reset(avcodec_alloc_context3(codec));
  WAN_CHECK(encoder_ != nullptr, kOutOfMemory, "[mp4] no memory for the encoder {}", codec->name);
  encoder_->sample_fmt = AV_SAMPLE_FMT_FLTP;
  encoder_->sample_rate = encoded_rate(*codec, sound_.rate());
  av_channel_layout_default(&encoder_->ch_layout, std::min(sound_.channels(), 2));
  encoder_->time_base = {1, encoder_->sample_rate};
  encoder_->bit_rate = kSoundBitRate;
  encoder_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
  const int result = avcodec_open2(encoder_.get(), codec, nullptr);
  WAN_CHECK(result >= 0, kUnsupported, "cannot write .mp4 with sound: {} does not open: {}", codec->name,
            ffmpeg_error(result));
}

void SoundEncoder::open_resampler() {
  AVChannelLayout layout{};
  if (sound_.channel_mask() == 0 || av_channel_layout_from_mask(&layout, sound_.channel_mask()) < 0 ||
      layout.nb_channels != sound_.channels())
    av_channel_layout_default(&layout, sound_.channels());
  SwrContext* resampler = nullptr;
  int result =
      swr_alloc_set_opts2(&resampler, &encoder_->ch_layout, AV_SAMPLE_FMT_FLTP, encoder_->sample_rate,
                          &layout, AV_SAMPLE_FMT_FLTP, sound_.rate(), 0, nullptr);
  av_channel_layout_uninit(&layout);
  resampler_.reset(resampler);
  if (result >= 0) result = swr_init(resampler);
  WAN_CHECK(result >= 0, kUnsupported,
            "cannot make {} channels of sound two: {}; convert the sound to mono or stereo",
            sound_.channels(), ffmpeg_error(result));
}

std::int64_t SoundEncoder::samples_before(std::int64_t frame) const {
  return av_rescale(frame, std::int64_t{rate_.denominator} * encoder_->sample_rate, rate_.numerator);
}

bool SoundEncoder::is_over_at(std::int64_t frame) {
  const std::int64_t begin = samples_before(frame);
  make(begin + 1);
  return made_ <= begin;
}

void SoundEncoder::make(std::int64_t count) {
  SoundSamples samples;
  while (!over_ && made_ < count) {
    over_ = !sound_.read(samples);
    convert(over_ ? nullptr : &samples);
  }
}

void SoundEncoder::convert(const SoundSamples* samples) {
  constexpr std::size_t kMostChannels = 64;
  const std::uint8_t* from[kMostChannels] = {};
  int count = 0;
  if (samples != nullptr) {
    count = static_cast<int>((*samples)[0].size());
    for (std::size_t i = 0; i < samples->size(); ++i)
      from[i] = reinterpret_cast<const std::uint8_t*>((*samples)[i].data());
  }
  const int room = swr_get_out_samples(resampler_.get(), count);
  if (room <= 0) return;
  std::uint8_t* to[kMostChannels] = {};
  const std::size_t before = waiting_[0].size();
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    waiting_[i].resize(before + static_cast<std::size_t>(room));
    to[i] = reinterpret_cast<std::uint8_t*>(waiting_[i].data() + before);
  }
  const int made = swr_convert(resampler_.get(), to, room, samples != nullptr ? from : nullptr, count);
  WAN_CHECK(made >= 0, kInternal, "[mp4] libswresample failed: {}", ffmpeg_error(made));
  for (std::vector<float>& channel : waiting_) channel.resize(before + static_cast<std::size_t>(made));
  made_ += made;
}

void SoundEncoder::encode_until(std::int64_t frame, const Write& write) {
  const std::int64_t end = samples_before(frame);
  make(end);
  const std::int64_t all = std::min(end, made_);
  const std::int64_t block = encoder_->frame_size;
  while (all - encoded_ >= block) encode(static_cast<std::size_t>(block), write);
  last_ = all;
}

void SoundEncoder::finish(const Write& write) {
  if (last_ > encoded_) encode(static_cast<std::size_t>(last_ - encoded_), write);
  send(nullptr, write);
}

void SoundEncoder::encode(std::size_t count, const Write& write) {
  FfmpegPtr<AVFrame> frame(av_frame_alloc());
  WAN_CHECK(frame != nullptr, kOutOfMemory, "[mp4] no memory for a frame");
  frame->format = encoder_->sample_fmt;
  frame->sample_rate = encoder_->sample_rate;
  frame->nb_samples = static_cast<int>(count);
  frame->pts = encoded_;
  WAN_CHECK(av_channel_layout_copy(&frame->ch_layout, &encoder_->ch_layout) >= 0 &&
                av_frame_get_buffer(frame.get(), 0) >= 0,
            kOutOfMemory, "[mp4] no memory for {} samples", count);
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    std::vector<float>& channel = waiting_[i];
    std::copy_n(channel.begin(), count, reinterpret_cast<float*>(frame->extended_data[i]));
    channel.erase(channel.begin(), channel.begin() + static_cast<std::ptrdiff_t>(count));
  }
  encoded_ += static_cast<std::int64_t>(count);
  send(frame.get(), write);
}

void SoundEncoder::send(const AVFrame* frame, const Write& write) {
  encode_frame(*encoder_, frame, *packet_, write);
}

}  // namespace wan
