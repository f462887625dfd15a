// open_sound() through FFmpeg's libraries.

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "media/sound_source.h"
#include "media/stream_decoder.h"

namespace wan {

namespace {

template <typename T>
float as_unit(T value) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<float>(value);
  if constexpr (std::is_same_v<T, std::uint8_t>) return (static_cast<float>(value) - 128.0f) / 128.0f;
  constexpr auto kScale = static_cast<double>(std::numeric_limits<T>::max()) + 1.0;
  return static_cast<float>(static_cast<double>(value) / kScale);
}

/// `planar`: a plane a channel; otherwise all in the first, in turn.
template <typename T>
void take_samples(const AVFrame& frame, int channels, bool planar, SoundSamples& samples) {
  const auto count = static_cast<std::size_t>(frame.nb_samples);
  for (int channel = 0; channel < channels; ++channel) {
    const auto* from = reinterpret_cast<const T*>(frame.extended_data[planar ? channel : 0]);
    const std::size_t first = planar ? 0 : static_cast<std::size_t>(channel);
    const std::size_t step = planar ? 1 : static_cast<std::size_t>(channels);
    std::vector<float>& values = samples.emplace_back(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = as_unit(from[first + i * step]);
  }
}

void take_any(const AVFrame& frame, int channels, const std::string& name, SoundSamples& samples) {
  const auto format = static_cast<AVSampleFormat>(frame.format);
  const bool planar = av_sample_fmt_is_planar(format) != 0;
  switch (av_get_packed_sample_fmt(format)) {
    case AV_SAMPLE_FMT_U8:
      return take_samples<std::uint8_t>(frame, channels, planar, samples);
    case AV_SAMPLE_FMT_S16:
      return take_samples<std::int16_t>(frame, channels, planar, samples);
    case AV_SAMPLE_FMT_S32:
      return take_samples<std::int32_t>(frame, channels, planar, samples);
    case AV_SAMPLE_FMT_S64:
      return take_samples<std::int64_t>(frame, channels, planar, samples);
    case AV_SAMPLE_FMT_FLT:
      return take_samples<float>(frame, channels, planar, samples);
    case AV_SAMPLE_FMT_DBL:
      return take_samples<double>(frame, channels, planar, samples);
    default:
      fail(ErrorCode::kUnsupported, "[sound] {}: samples of a kind that is not read; convert it to WAV",
           name);
  }
}

class FfmpegSound final : public SoundSource {
 public:
  /// A stream's header may state another format than its frames have, so that the first one is decoded here.
  explicit FfmpegSound(const std::filesystem::path& path) : decoder_(path, AVMEDIA_TYPE_AUDIO) {
    frame_ = decoder_.next();
    WAN_CHECK(frame_ != nullptr, kBadFile,
              "[sound] {}: nothing of its sound can be decoded: it is empty or damaged; give another file",
              decoder_.name());
    rate_ = frame_->sample_rate;
    channels_ = frame_->ch_layout.nb_channels;
    if (frame_->ch_layout.order == AV_CHANNEL_ORDER_NATIVE) mask_ = frame_->ch_layout.u.mask;
    check_sound_format(rate_, channels_, decoder_.name());
  }

  int rate() const override { return rate_; }
  int channels() const override { return channels_; }
  std::uint64_t channel_mask() const override { return mask_; }

  bool read(SoundSamples& samples) override {
    samples.clear();
    while (frame_ != nullptr && frame_->nb_samples <= 0) frame_ = decoder_.next();
    if (frame_ == nullptr) return false;
    WAN_CHECK(frame_->sample_rate == rate_ && frame_->ch_layout.nb_channels == channels_, kBadFile,
              "[sound] {} changes from {} channels of {} Hz to {} of {} Hz on the way; convert it to WAV",
              decoder_.name(), channels_, rate_, frame_->ch_layout.nb_channels, frame_->sample_rate);
    take_any(*frame_, channels_, decoder_.name(), samples);
    check_finite(samples, decoder_.name());
    frame_ = decoder_.next();
    return true;
  }

 private:
  StreamDecoder decoder_;
  const AVFrame* frame_;  // the decoder's, not yet read
  int rate_ = 0;
  int channels_ = 0;
  std::uint64_t mask_ = 0;
};

}  // namespace

std::unique_ptr<SoundSource> open_sound(const std::filesystem::path& path) {
  return std::make_unique<FfmpegSound>(path);
}

}  // namespace wan
