#pragma once
// A sound that is read from its beginning to its end, some samples at a time.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace wan {

/// Samples that follow one another, channel by channel: each of as many values, nominally in [-1, 1].
using SoundSamples = std::vector<std::vector<float>>;

class SoundSource {
 public:
  virtual ~SoundSource() = default;

  virtual int rate() const = 0;  // samples a second
  virtual int channels() const = 0;
  /// Which loudspeakers the channels are for: WAVE's mask, in its order; 0 where the file does not say.
  virtual std::uint64_t channel_mask() const = 0;
  /// Replaces `samples` by the next ones, at least one of each channel. False, and nothing in them, after the last. Throws
  /// BadFile, also for values that are not finite.
  virtual bool read(SoundSamples& samples) = 0;
};

/// The first sound stream of a file; throws as read_speech() (media/audio.h).
std::unique_ptr<SoundSource> open_sound(const std::filesystem::path& path);

/// Whether the file has a sound that can be read. Throws what is neither BadFile nor Unsupported.
bool has_sound(const std::filesystem::path& path);

/// Of a file's sound the part from `start` seconds on, `duration` seconds of it where there is a duration.
class SoundPart final : public SoundSource {
 public:
  /// Reads up to the part's first samples. Throws as read_speech().
  SoundPart(const std::filesystem::path& path, double start, std::optional<double> duration);

  int rate() const override { return source_->rate(); }
  int channels() const override { return source_->channels(); }
  std::uint64_t channel_mask() const override { return source_->channel_mask(); }
  bool read(SoundSamples& samples) override;

 private:
  /// The next samples of the part into next_; none after its end.
  void read_next();

  std::unique_ptr<SoundSource> source_;
  std::uint64_t skip_;                 // samples before the part
  std::optional<std::uint64_t> left_;  // of the part; unset: all there are
  std::uint64_t seen_ = 0;             // samples of the file until now
  SoundSamples next_;                  // empty at the end
};

/// Throws BadFile unless a file states what a sound can be: 1 to 64 channels, 1 to 1000 kHz.
void check_sound_format(int rate, int channels, const std::string& name);

/// Throws BadFile where a value is NaN or infinite.
void check_finite(const SoundSamples& samples, const std::string& name);

}  // namespace wan
