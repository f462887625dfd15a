#include "media/wav.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace wan {

namespace {

constexpr const char* kSaveWav = "save it again as WAV of 16 bits";

/// `bytes` little-endian ones from `at` on.
std::uint64_t wav_number(std::span<const std::byte> file, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= std::to_integer<std::uint64_t>(file[at + i]) << (8 * i);
  return value;
}

bool has_text(std::span<const std::byte> file, std::size_t at, std::string_view text) {
  return file.size() >= at + text.size() && std::memcmp(file.data() + at, text.data(), text.size()) == 0;
}

struct WavFormat {
  int coding = 0;  // 1: integers, 3: floats
  int channels = 0;
  int rate = 0;
  std::size_t bytes = 0;  // of one value
  std::uint64_t mask = 0;
};

WavFormat read_format(std::span<const std::byte> chunk, const std::string& name) {
  constexpr std::uint64_t kExtensible = 0xfffe;
  WAN_CHECK(chunk.size() >= 16, kBadFile, "[sound] {}: its WAV header is damaged; {}", name, kSaveWav);
  WavFormat format;
  std::uint64_t coding = wav_number(chunk, 0, 2);
  const std::uint64_t channels = wav_number(chunk, 2, 2);
  const std::uint64_t rate = wav_number(chunk, 4, 4);
  const std::uint64_t bits = wav_number(chunk, 14, 2);
  if (coding == kExtensible && chunk.size() >= 40) {
    format.mask = wav_number(chunk, 20, 4);
    coding = wav_number(chunk, 24, 2);
  }
  const bool integers = coding == 1 && (bits == 8 || bits == 16 || bits == 24 || bits == 32);
  const bool floats = coding == 3 && (bits == 32 || bits == 64);
  WAN_CHECK(integers || floats, kUnsupported,
            "[sound] {}: WAV of coding {} with {} bits is not read by this build; {}", name, coding, bits,
            kSaveWav);
  format.coding = static_cast<int>(coding);
  format.channels = static_cast<int>(channels);
  format.rate = static_cast<int>(std::min<std::uint64_t>(rate, 0x7fffffff));
  format.bytes = static_cast<std::size_t>(bits / 8);
  check_sound_format(format.rate, format.channels, name);
  if (std::popcount(format.mask) != format.channels) format.mask = 0;
  return format;
}

float value_at(std::span<const std::byte> file, std::size_t at, const WavFormat& format) {
  const std::uint64_t bits = wav_number(file, at, format.bytes);
  if (format.coding == 3)
    return format.bytes == 4 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits))
                             : static_cast<float>(std::bit_cast<double>(bits));
  if (format.bytes == 1) return (static_cast<float>(bits) - 128.0f) / 128.0f;
  // The sign bit to the top, whatever the width.
  const auto high = static_cast<std::int32_t>(static_cast<std::uint32_t>(bits) << (32 - 8 * format.bytes));
  return static_cast<float>(high) / 2147483648.0f;
}

class WavSource final : public SoundSource {
 public:
  WavSource(std::span<const std::byte> data, const WavFormat& format, std::string name)
      : data_(data), format_(format), name_(std::move(name)) {}

  int rate() const override { return format_.rate; }
  int channels() const override { return format_.channels; }
  std::uint64_t channel_mask() const override { return format_.mask; }

  bool read(SoundSamples& samples) override {
    constexpr std::size_t kAtOnce = 4096;
    const std::size_t frame = format_.bytes * static_cast<std::size_t>(format_.channels);
    const std::size_t count = std::min(kAtOnce, (data_.size() - at_) / frame);
    samples.clear();
    if (count == 0) return false;
    for (int channel = 0; channel < format_.channels; ++channel) {
      std::size_t from = at_ + static_cast<std::size_t>(channel) * format_.bytes;
      std::vector<float>& values = samples.emplace_back(count);
      for (float& value : values) {
        value = value_at(data_, from, format_);
        from += frame;
      }
    }
    at_ += count * frame;
    check_finite(samples, name_);
    return true;
  }

 private:
  std::span<const std::byte> data_;
  WavFormat format_;
  std::string name_;
  std::size_t at_ = 0;
};

}  // namespace

bool is_wav(std::span<const std::byte> file) {
  return has_text(file, 0, "RIFF") && has_text(file, 8, "WAVE");
}

std::unique_ptr<SoundSource> open_wav(std::span<const std::byte> file, std::string name) {
  WAN_CHECK(is_wav(file), kBadFile, "[sound] {} is not a WAV file; {}", name, kSaveWav);
  std::optional<WavFormat> format;
  for (std::size_t at = 12; at + 8 <= file.size();) {
    // A program that wrote to a pipe knew no length: 0 or the largest, and what there is counts.
    const std::uint64_t stated = wav_number(file, at + 4, 4);
    const std::size_t rest = file.size() - at - 8;
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(stated, rest));
    if (has_text(file, at, "fmt ")) format = read_format(file.subspan(at + 8, length), name);
    if (has_text(file, at, "data")) {
      WAN_CHECK(format.has_value(), kBadFile, "[sound] {}: its WAV header is damaged; {}", name, kSaveWav);
      return std::make_unique<WavSource>(file.subspan(at + 8, stated == 0 ? rest : length), *format,
                                         std::move(name));
    }
    at += 8 + length + length % 2;  // chunks begin at even places
  }
  fail(ErrorCode::kBadFile, "[sound] {}: its WAV header is damaged; {}", name, kSaveWav);
}

}  // namespace wan
