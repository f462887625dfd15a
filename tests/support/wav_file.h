#pragma once
// WAV files that tests make.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace wan::test {

inline void append_number(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}

/// A header of the coding (1: integers, 3: floats) and the `data` after it.
inline std::string wav_bytes(int coding, int bits, int channels, int rate, const std::string& data) {
  const auto frame = static_cast<std::uint64_t>(channels * bits / 8);
  std::string file = "RIFF";
  append_number(file, 36 + data.size(), 4);
  file += "WAVEfmt ";
  append_number(file, 16, 4);
  append_number(file, static_cast<std::uint64_t>(coding), 2);
  append_number(file, static_cast<std::uint64_t>(channels), 2);
  append_number(file, static_cast<std::uint64_t>(rate), 4);
  append_number(file, static_cast<std::uint64_t>(rate) * frame, 4);
  append_number(file, frame, 2);
  append_number(file, static_cast<std::uint64_t>(bits), 2);
  file += "data";
  append_number(file, data.size(), 4);
  return file + data;
}

/// Floats of one channel.
inline void write_wav(const std::filesystem::path& path, std::span<const float> samples, int rate) {
  const std::string data(reinterpret_cast<const char*>(samples.data()), samples.size_bytes());
  std::ofstream(path, std::ios::binary) << wav_bytes(3, 32, 1, rate, data);
}

/// Silence of so many seconds with a click of 4 ms, decaying, that begins at `at` seconds.
inline std::vector<float> click(double seconds, double at, int rate) {
  std::vector<float> samples(static_cast<std::size_t>(seconds * rate));
  const auto first = static_cast<std::size_t>(at * rate);
  const auto length = static_cast<std::size_t>(0.004 * rate);
  for (std::size_t i = 0; i < length && first + i < samples.size(); ++i)
    samples[first + i] =
        (i / 4 % 2 == 0 ? 0.9f : -0.9f) * static_cast<float>(length - i) / static_cast<float>(length);
  return samples;
}

}  // namespace wan::test
