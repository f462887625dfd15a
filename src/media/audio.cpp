#include "media/audio.h"

#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

#include "base/error.h"
#include "media/sound_source.h"

namespace wan {

namespace {

std::vector<float> mean_of(const SoundSamples& samples) {
  std::vector<float> mean = samples[0];
  for (std::size_t channel = 1; channel < samples.size(); ++channel)
    std::ranges::transform(mean, samples[channel], mean.begin(), std::plus<>());
  const auto channels = static_cast<float>(samples.size());
  if (samples.size() > 1)
    for (float& value : mean) value /= channels;
  return mean;
}

/// libsoxr's "HQ", which librosa takes, in fp32.
class Resampler {
 public:
  explicit Resampler(int rate) : ratio_(static_cast<double>(kSpeechRate) / rate) {
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_error_t error = nullptr;
    soxr_.reset(soxr_create(rate, kSpeechRate, 1, &error, nullptr, &quality, nullptr));
    WAN_CHECK(soxr_ != nullptr, kOutOfMemory, "[sound] cannot resample from {} Hz: {}", rate, error);
  }

  void add(const std::vector<float>& samples) {
    std::size_t done = 0;
    while (done < samples.size()) done += step(samples.data() + done, samples.size() - done);
    taken_ += samples.size();
  }

  /// What came of all samples: ceil(n ratio) of them in librosa's arithmetic.
  std::vector<float> finish() {
    std::size_t before = 0;
    do {
      before = result_.size();
      step(nullptr, 0);
    } while (result_.size() > before);
    result_.resize(static_cast<std::size_t>(std::ceil(static_cast<double>(taken_) * ratio_)));
    return std::move(result_);
  }

 private:
  struct Delete {
    void operator()(soxr_t soxr) const { soxr_delete(soxr); }
  };

  /// Returns how many were taken in. Null: those were all.
  std::size_t step(const float* samples, std::size_t count) {
    constexpr std::size_t kRoom = 1 << 14;
    const std::size_t before = result_.size();
    result_.resize(before + kRoom);
    std::size_t taken = 0;
    std::size_t made = 0;
    const soxr_error_t error =
        soxr_process(soxr_.get(), samples, count, &taken, result_.data() + before, kRoom, &made);
    WAN_CHECK(error == nullptr, kInternal, "[sound] libsoxr failed: {}", error);
    result_.resize(before + made);
    return taken;
  }

  double ratio_;
  std::unique_ptr<soxr, Delete> soxr_;
  std::size_t taken_ = 0;
  std::vector<float> result_;
};

std::vector<float> read_all(SoundSource& sound) {
  SoundSamples samples;
  if (sound.rate() == kSpeechRate) {
    std::vector<float> speech;
    while (sound.read(samples)) {
      const std::vector<float> mean = mean_of(samples);
      speech.insert(speech.end(), mean.begin(), mean.end());
    }
    return speech;
  }
  Resampler resampler(sound.rate());
  while (sound.read(samples)) resampler.add(mean_of(samples));
  return resampler.finish();
}

}  // namespace

std::vector<float> read_speech(const std::filesystem::path& path, double start,
                               std::optional<double> duration) {
  try {
    SoundPart sound(path, start, duration);
    return read_all(sound);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "[sound] {}: not enough memory for its samples; take a part of it",
         path.string());
  }
}

}  // namespace wan
