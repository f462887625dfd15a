// WAV files: read by our own reader, and, in every build, as speech.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>

#include "base/mapped_file.h"
#include "media/audio.h"
#include "media/wav.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "support/wav_file.h"

namespace wan {
namespace {

using test::append_number;
using test::expect_error;
using test::TempFolder;
using test::wav_bytes;

std::vector<float> read_wav(const std::string& file) {
  const auto source = open_wav(std::as_bytes(std::span(file)), "a.wav");
  std::vector<float> all;
  for (SoundSamples samples; source->read(samples);)
    for (std::size_t i = 0; i < samples[0].size(); ++i)
      for (const std::vector<float>& channel : samples) all.push_back(channel[i]);
  return all;
}

TEST(Wav, EveryWidthHasItsScale) {
  EXPECT_EQ(read_wav(wav_bytes(1, 8, 1, 8000, std::string("\x00\x80\xff", 3))),
            (std::vector<float>{-1.0f, 0.0f, 127.0f / 128}));
  EXPECT_EQ(read_wav(wav_bytes(1, 16, 2, 8000, std::string("\x00\x80\x00\x40", 4))),
            (std::vector<float>{-1.0f, 0.5f}));
  EXPECT_EQ(read_wav(wav_bytes(1, 24, 1, 8000, std::string("\x00\x00\x80\x00\x00\x20", 6))),
            (std::vector<float>{-1.0f, 0.25f}));
  EXPECT_EQ(read_wav(wav_bytes(1, 32, 1, 8000, std::string("\x00\x00\x00\x80\x00\x00\x00\x10", 8))),
            (std::vector<float>{-1.0f, 0.125f}));
  const float single = 0.75f;
  const double twice = -0.375;
  EXPECT_EQ(read_wav(wav_bytes(3, 32, 1, 8000, std::string(reinterpret_cast<const char*>(&single), 4))),
            (std::vector<float>{0.75f}));
  EXPECT_EQ(read_wav(wav_bytes(3, 64, 1, 8000, std::string(reinterpret_cast<const char*>(&twice), 8))),
            (std::vector<float>{-0.375f}));
}

TEST(Wav, OtherChunksAndUnknownLengthsAreNoMatter) {
  std::string file = wav_bytes(1, 8, 1, 8000, "\x80\xc0");
  const std::string plain = file;
  file.insert(12, std::string("LIST\3\0\0\0abc\0", 12));
  EXPECT_EQ(read_wav(file), read_wav(plain));
  for (const char* length : {"\xff\xff\xff\xff", "\0\0\0\0"}) {  // written to a pipe
    file = plain;
    file.replace(40, 4, std::string(length, 4));
    EXPECT_EQ(read_wav(file), read_wav(plain));
  }
  file = wav_bytes(1, 16, 2, 8000, "abcdef");  // one frame and a half
  EXPECT_EQ(read_wav(file).size(), 2u);
}

TEST(Wav, DamagedAndOtherFilesAreRefused) {
  const std::string plain = wav_bytes(1, 16, 1, 8000, "abcd");
  const auto refused = [](ErrorCode code, const char* part, const std::string& file) {
    expect_error(code, part, [&] { read_wav(file); });
  };
  refused(ErrorCode::kBadFile, "not a WAV file", "");
  refused(ErrorCode::kBadFile, "not a WAV file", "RIFF\0\0\0\0AVI ");
  for (const std::size_t length : {12u, 20u, 30u, 40u})
    refused(ErrorCode::kBadFile, "damaged", plain.substr(0, length));
  refused(ErrorCode::kUnsupported, "coding 6", wav_bytes(6, 8, 1, 8000, "ab"));
  refused(ErrorCode::kUnsupported, "12 bits", wav_bytes(1, 12, 1, 8000, "ab"));
  refused(ErrorCode::kBadFile, "channels", wav_bytes(1, 16, 0, 8000, "ab"));
  refused(ErrorCode::kBadFile, "channels", wav_bytes(1, 16, 65, 8000, "ab"));
  refused(ErrorCode::kBadFile, "samples a second", wav_bytes(1, 16, 1, 0, "ab"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  refused(ErrorCode::kBadFile, "not numbers",
          wav_bytes(3, 32, 1, 8000, std::string(reinterpret_cast<const char*>(&nan), 4)));
}

TEST(Speech, WavIsReadAsLibrosaReadsIt) {
  const test::GoldenFile golden(test::golden_path("audio/sounds.safetensors"));
  int files = 0;
  for (const std::string& name : golden.names()) {
    if (name.find(".wav") == std::string::npos) continue;
    ++files;
    SCOPED_TRACE(name);
    const std::size_t at = name.find('@');
    double start = 0;
    std::optional<double> duration;
    if (at != std::string::npos) {
      start = std::stod(name.substr(at + 1));
      const std::string length = name.substr(name.find('+') + 1);
      if (length != "None") duration = std::stod(length);
    }
    std::vector<float> speech =
        read_speech(test::golden_path("audio/files/" + name.substr(0, at)), start, duration);
    const TensorView made(speech.data(), DType::kF32, {static_cast<std::int64_t>(speech.size())});
    // fp32 sums of some hundred products in the resampler, in another order.
    EXPECT_TRUE(test::all_close(made, golden.expected(name), 2e-6));
  }
  EXPECT_EQ(files, 12);
}

TEST(Speech, PartsOutsideOfTheSoundAreRefused) {
  const auto file = test::golden_path("audio/files/s16_16000.wav");  // 0.25 s
  const auto refused = [&](const char* part, double start, std::optional<double> duration) {
    expect_error(ErrorCode::kInvalidArgument, part, [&] { read_speech(file, start, duration); });
  };
  refused("lasts 0.250 seconds", 0.25, {});
  refused("lasts 0.250 seconds", 1e30, {});
  refused("start of 0 seconds or more", -1, {});
  refused("start of 0 seconds or more", std::nan(""), {});
  refused("duration of 0 seconds or more", 0, -1.0);
  refused("longer duration", 0, 0.0);
  refused("longer duration", 0, 1e-9);
  EXPECT_EQ(read_speech(file, 0.25 - 1.0 / 16000).size(), 1u);
  EXPECT_EQ(read_speech(file, 0, 1e30).size(), 4000u);
}

TEST(Speech, WhatIsNoSoundFileIsRefused) {
  const TempFolder folder;
  expect_error(ErrorCode::kBadFile, "none.wav", [&] { read_speech(folder / "none.wav"); });
  expect_error(ErrorCode::kBadFile, folder.path().string(), [&] { read_speech(folder.path()); });
  std::ofstream(folder / "empty.wav").close();
  expect_error(ErrorCode::kBadFile, "empty", [&] { read_speech(folder / "empty.wav"); });
  std::ofstream(folder / "no_samples.wav") << wav_bytes(1, 16, 1, 8000, "");
  expect_error(ErrorCode::kBadFile, "no_samples.wav", [&] { read_speech(folder / "no_samples.wav"); });
}

}  // namespace
}  // namespace wan
