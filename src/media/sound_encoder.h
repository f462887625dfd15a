#pragma once
// SoundEncoder: a video's sound as AAC packets, as far as its pictures have come. Included by FFmpeg-built files only.

#include <functional>
#include <memory>
#include <vector>

#include "media/ffmpeg_support.h"
#include "media/frame_rate.h"
#include "media/sound_source.h"
#include "media/sound_track.h"

struct SwrContext;

namespace wan {

/// Throws Unsupported where this FFmpeg has no AAC encoder.
void check_sound_encoder();

class SoundEncoder {
 public:
  /// Called with each packet, in the time base of context().
  using Write = std::function<void(AVPacket&)>;

  /// Opens the file and reads the beginning of its part; throws as SoundPart, Unsupported as above.
  SoundEncoder(const SoundTrack& track, FrameRate rate);

  const AVCodecContext& context() const { return *encoder_; }

  /// Whether the sound is over when frame `frame` begins.
  bool is_over_at(std::int64_t frame);
  /// Encodes what is heard before frame `frame` begins.
  void encode_until(std::int64_t frame, const Write& write);
  /// Ends the track with what it has.
  void finish(const Write& write);

 private:
  struct FreeResampler {
    void operator()(SwrContext* resampler) const;
  };

  void open_encoder();
  void open_resampler();
  /// Samples of the track before frame `frame` begins.
  std::int64_t samples_before(std::int64_t frame) const;
  /// Makes samples until there are `count`, or the sound is over.
  void make(std::int64_t count);
  /// Through the resampler, to what waits; null: those were all.
  void convert(const SoundSamples* samples);
  /// The first `count` of what waits.
  void encode(std::size_t count, const Write& write);
  void send(const AVFrame* frame, const Write& write);

  SoundPart sound_;
  FrameRate rate_;
  FfmpegPtr<AVCodecContext> encoder_;
  std::unique_ptr<SwrContext, FreeResampler> resampler_;
  FfmpegPtr<AVPacket> packet_;
  SoundSamples waiting_;   // made and not yet encoded
  std::int64_t made_ = 0;  // samples in all
  std::int64_t encoded_ = 0;
  std::int64_t last_ = 0;  // samples of the frames until now
  bool over_ = false;
};

}  // namespace wan
