#include "media/sound_source.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace wan {

namespace {

/// As librosa counts them: what a part of a sample remains is left out.
std::uint64_t whole_samples(double seconds, int rate) {
  constexpr double kMost = 1e15;  // past any sound, exact in a double
  return static_cast<std::uint64_t>(std::min(seconds * rate, kMost));
}

void check_seconds(const char* what, double seconds, const std::filesystem::path& path) {
  WAN_CHECK(std::isfinite(seconds) && seconds >= 0, kInvalidArgument,
            "[sound] {}: expected a {} of 0 seconds or more, got {}", path.string(), what, seconds);
}

void drop_first(SoundSamples& samples, std::size_t count) {
  for (std::vector<float>& channel : samples)
    channel.erase(channel.begin(), channel.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace

bool has_sound(const std::filesystem::path& path) {
  try {
    open_sound(path);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadFile && error.code() != ErrorCode::kUnsupported) throw;
    return false;
  }
}

SoundPart::SoundPart(const std::filesystem::path& path, double start, std::optional<double> duration) {
  check_seconds("start", start, path);
  if (duration) check_seconds("duration", *duration, path);
  source_ = open_sound(path);
  skip_ = whole_samples(start, rate());
  if (duration) {
    left_ = whole_samples(*duration, rate());
    WAN_CHECK(*left_ > 0, kInvalidArgument,
              "[sound] {}: {} seconds are less than one of its samples; give a longer duration",
              path.string(), *duration);
  }
  read_next();
  WAN_CHECK(seen_ > 0, kBadFile, "[sound] {} has no sound in it; give another file", path.string());
  WAN_CHECK(!next_.empty(), kInvalidArgument,
            "[sound] {} lasts {:.3f} seconds, so that nothing is left of it from {} on; start earlier",
            path.string(), static_cast<double>(seen_) / rate(), start);
}

bool SoundPart::read(SoundSamples& samples) {
  samples = std::exchange(next_, {});
  if (samples.empty()) return false;
  read_next();
  return true;
}

void SoundPart::read_next() {
  while (left_ != std::uint64_t{0} && source_->read(next_)) {
    const std::size_t count = next_[0].size();
    seen_ += count;
    const auto before = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, count));
    skip_ -= before;
    if (before == count) continue;
    drop_first(next_, before);
    if (left_) {
      const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(*left_, count - before));
      for (std::vector<float>& channel : next_) channel.resize(taken);
      *left_ -= taken;
    }
    return;
  }
  next_.clear();
}

void check_sound_format(int rate, int channels, const std::string& name) {
  constexpr int kMostChannels = 64;
  constexpr int kSlowest = 1'000;
  constexpr int kFastest = 1'000'000;
  WAN_CHECK(channels >= 1 && channels <= kMostChannels && rate >= kSlowest && rate <= kFastest, kBadFile,
            "[sound] {}: expected 1 to {} channels of {} to {} samples a second, got {} of {}; save it again "
            "as WAV",
            name, kMostChannels, kSlowest, kFastest, channels, rate);
}

void check_finite(const SoundSamples& samples, const std::string& name) {
  for (const std::vector<float>& channel : samples)
    WAN_CHECK(std::ranges::all_of(channel, [](float value) { return std::isfinite(value); }), kBadFile,
              "[sound] {} holds samples that are not numbers; save it again as WAV of 16 bits", name);
}

}  // namespace wan
