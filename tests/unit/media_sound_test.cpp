// Sound and video frames through FFmpeg: files of many formats read, and sound beside frames in an MP4.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cmath>
#include <fstream>

#include "base/mapped_file.h"
#include "media/audio.h"
#include "media/output.h"
#include "media/video_encoder.h"
#include "media/video_reader.h"
#include "media/wav.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "support/test_frames.h"
#include "support/video_reader.h"
#include "support/wav_file.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::click;
using test::DecodedSound;
using test::expect_error;
using test::golden_path;
using test::grey_frame;
using test::read_sound;
using test::read_video;
using test::TempFolder;
using test::write_wav;

fs::path sound_file(const std::string& name) {
  return golden_path("audio/files/" + name);
}

TEST(Speech, EveryFormatIsReadAsLibrosaReadsIt) {
  const test::GoldenFile golden(golden_path("audio/sounds.safetensors"));
  // Lossy decoders differ in the last bits of their transforms: libsndfile's of MP3 and Vorbis from FFmpeg's. The m4a and the
  // video were decoded by FFmpeg.
  for (const auto& [name, tolerance] :
       {std::pair("s16_48000_6ch.flac", 2e-6), std::pair("s24_96000.flac", 2e-6),
        std::pair("mono_16000.ogg", 2e-5), std::pair("cover_44100.mp3", 2e-4),
        std::pair("aac_48000.m4a", 2e-6), std::pair("video_44100.mp4", 2e-6)}) {
    std::vector<float> speech = read_speech(sound_file(name));
    const TensorView made(speech.data(), DType::kF32, {static_cast<std::int64_t>(speech.size())});
    EXPECT_TRUE(test::all_close(made, golden.expected(name), tolerance)) << name;
  }
  std::vector<float> part = read_speech(sound_file("cover_44100.mp3"), 0.15, 0.2);
  const TensorView made(part.data(), DType::kF32, {static_cast<std::int64_t>(part.size())});
  EXPECT_TRUE(test::all_close(made, golden.expected("cover_44100.mp3@0.15+0.2"), 2e-4));
}

TEST(Wav, OurReaderGivesWhatFfmpegGives) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(golden_path("audio/files"))) {
    if (entry.path().extension() != ".wav") continue;
    ++files;
    SCOPED_TRACE(entry.path().string());
    const MappedFile file(entry.path());
    const auto ours = open_wav(file.bytes(), "a.wav");
    const auto theirs = open_sound(entry.path());
    EXPECT_EQ(ours->rate(), theirs->rate());
    ASSERT_EQ(ours->channels(), theirs->channels());
    const auto all = [](SoundSource& source) {
      SoundSamples joined(static_cast<std::size_t>(source.channels()));
      for (SoundSamples samples; source.read(samples);)
        for (std::size_t i = 0; i < samples.size(); ++i)
          joined[i].insert(joined[i].end(), samples[i].begin(), samples[i].end());
      return joined;
    };
    EXPECT_EQ(all(*ours), all(*theirs));
  }
  EXPECT_EQ(files, 8);
}

TEST(Speech, FilesWithoutSoundDamagedOnesAndPlaylistsAreRefused) {
  const TempFolder folder;
  const auto refused = [&](const char* part, const fs::path& path) {
    expect_error(ErrorCode::kBadFile, part, [&] { read_speech(path); });
  };
  refused("has no sound", sound_file("plain.mp4"));
  std::ofstream(folder / "text.mp3") << "This is no sound.";
  refused("text.mp3", folder / "text.mp3");
  const std::string whole = bytes_of(sound_file("aac_48000.m4a"));
  std::ofstream(folder / "cut.m4a") << whole.substr(0, whole.size() / 2);  // without the index at its end
  refused("cut.m4a", folder / "cut.m4a");
  // Lists are refused before what they name is opened: opening a FIFO that nobody writes to takes for ever.
  const fs::path fifo = folder / "fifo.ts";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::ofstream(folder / "list.mp3") << "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
                                     << fifo.string() << "\n#EXT-X-ENDLIST\n";
  refused("a list of other files", folder / "list.mp3");
  std::ofstream(folder / "list.wav") << "ffconcat version 1.0\nfile fifo.ts\n";
  refused("a list of other files", folder / "list.wav");
}

TEST(Speech, ADamagedPartIsLeftOutAndTheRestIsThere) {
  const TempFolder folder;
  std::string file = bytes_of(sound_file("cover_44100.mp3"));
  const std::size_t whole = read_speech(sound_file("cover_44100.mp3")).size();
  for (std::size_t i = file.size() - 1200; i < file.size() - 900; ++i) file[i] = '\x55';
  std::ofstream(folder / "a.mp3") << file;
  const std::size_t left = read_speech(folder / "a.mp3").size();
  EXPECT_GT(left, whole / 2);
  EXPECT_LE(left, whole);
}

TEST(VideoReader, FramesAreUprightInOrderAndOfTheRightColours) {
  const test::GoldenFile golden(golden_path("audio/sounds.safetensors"));
  for (const char* name : {"plain.mp4", "turned_6.mp4", "turned_3.mp4", "mirrored_2.mp4", "mirrored_5.mp4"}) {
    SCOPED_TRACE(name);
    const test::Expected expected = golden.expected(std::string(name) + ".frames");
    const auto video = open_video(sound_file(name));
    EXPECT_EQ(video->fps(), 24);
    EXPECT_EQ(video->height(), expected.whole[1]);
    EXPECT_EQ(video->width(), expected.whole[2]);
    const Tensor frames(DType::kU8, expected.whole);
    std::int64_t count = 0;
    while (const auto frame = video->next()) {
      ASSERT_LT(count, expected.whole[0]);
      EXPECT_NEAR(frame->seconds, static_cast<double>(count) / 24, 1e-4);
      ASSERT_EQ(frame->image.width, expected.whole[2]);
      std::ranges::copy(frame->image.rgb, frames.view().select(0, count).as<std::uint8_t>());
      ++count;
    }
    EXPECT_EQ(count, expected.whole[0]);
    const Tensor part = test::part_of(frames, expected);
    ASSERT_FALSE(part.empty());
    int largest = 0;
    for (std::int64_t i = 0; i < part.elements(); ++i)
      largest = std::max(largest, std::abs(part.as<std::uint8_t>()[i] - expected.kept.as<std::uint8_t>()[i]));
    EXPECT_LE(largest, 1);
  }
}

TEST(VideoReader, WhatWasWrittenComesBack) {
  const TempFolder folder;
  const VideoFormat format{.width = 1280, .height = 704, .fps = 23.976, .frame_count = 3};  // BT.709
  const auto sink = make_frame_sink(folder / "a.mp4", format, {});
  std::vector<std::uint8_t> red;
  for (int i = 0; i < format.width * format.height; ++i) red.insert(red.end(), {200, 30, 60});
  for (int i = 0; i < 3; ++i) sink->write(red.data());
  sink->finish();
  const auto video = open_video(folder / "a.mp4");
  EXPECT_NEAR(video->fps(), 24000.0 / 1001, 1e-9);
  int count = 0;
  for (; const auto frame = video->next(); ++count) {
    EXPECT_NEAR(frame->image.row(300)[900], 200, 3);
    EXPECT_NEAR(frame->image.row(300)[901], 30, 3);
    EXPECT_NEAR(frame->image.row(300)[902], 60, 3);
  }
  EXPECT_EQ(count, 3);
}

TEST(VideoReader, WhatIsNoVideoIsRefused) {
  const TempFolder folder;
  const auto refused = [&](const char* part, const fs::path& path) {
    expect_error(ErrorCode::kBadFile, part, [&] { open_video(path); });
  };
  refused("there is no such file", folder / "none.mp4");
  refused("a folder", folder.path());
  refused("has no video", sound_file("s16_16000.wav"));
  refused("has no video", sound_file("cover_44100.mp3"));  // its picture is none
  std::string cut = bytes_of(sound_file("plain.mp4"));
  std::ofstream(folder / "cut.mp4") << cut.substr(0, cut.size() / 2);
  refused("cut.mp4", folder / "cut.mp4");
}

TEST(VideoReader, PicturesThatTheDecoderConcealsAreRefused) {
  const TempFolder folder;
  const VideoFormat format{.width = 128, .height = 96, .fps = 16, .frame_count = 24};
  const auto sink = make_frame_sink(folder / "whole.mp4", format, {});
  std::vector<std::uint8_t> frame(std::size_t{128} * 96 * 3);
  for (int i = 0; i < format.frame_count; ++i) {
    for (std::size_t at = 0; at < frame.size(); ++at)
      frame[at] = static_cast<std::uint8_t>((at * 2654435761u + static_cast<std::size_t>(i) * 97) >> 13);
    sink->write(frame.data());
  }
  sink->finish();
  const std::string whole = bytes_of(folder / "whole.mp4");
  const std::size_t begin = whole.find("mdat");  // to the file's end
  constexpr int kPlaces = 12;
  int refused = 0;
  for (int place = 1; place <= kPlaces; ++place) {
    std::string damaged = whole;
    const std::size_t at = begin + (whole.size() - begin) * static_cast<std::size_t>(place) / (kPlaces + 1);
    std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(at), 30, '\x55');
    std::ofstream(folder / "a.mp4") << damaged;
    const auto video = open_video(folder / "a.mp4");
    try {
      while (video->next()) continue;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile);
      EXPECT_NE(std::string(error.what()).find("it is damaged"), std::string::npos) << error.what();
      ++refused;
    }
  }
  EXPECT_GE(refused, kPlaces / 2);
}

/// Black frames, of which `flash` alone is white, with a sound.
void write_flash(const fs::path& path, const VideoFormat& format, int flash, const SoundTrack& sound,
                 const VideoEncoding& encoding = {}) {
  const auto sink = make_frame_sink(path, format, {}, encoding, sound);
  for (int i = 0; i < format.frame_count; ++i)
    sink->write(grey_frame(format.width, format.height, i == flash ? 255 : 0).data());
  sink->finish();
}

double flash_time(const fs::path& path) {
  const test::DecodedVideo video = read_video(path);
  for (std::size_t i = 0; i < video.yuv.size(); ++i)
    if (video.yuv[i][0][100] > 128) return video.times[i];
  return -1;
}

double click_time(const DecodedSound& sound) {
  for (std::size_t i = 0; i < sound.samples.size(); ++i)
    if (std::abs(sound.samples[i]) > 0.3f) return sound.begins + static_cast<double>(i) / sound.rate;
  return -1;
}

TEST(Mp4Sound, FlashAndClickMeet) {
  const TempFolder folder;
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 48};
  for (const VideoCodec codec : {VideoCodec::kH264, VideoCodec::kH265, VideoCodec::kAv1}) {
    if (video_encoders({codec, {}}).empty()) continue;
    for (const int rate : {8000, 16000, 22050, 44100, 48000, 96000, 192000}) {
      if (codec != VideoCodec::kH264 && rate != 44100) continue;
      SCOPED_TRACE(std::string(video_codec_name(codec)) + " " + std::to_string(rate));
      write_wav(folder / "a.wav", click(3, 2, rate), rate);
      write_flash(folder / "a.mp4", format, 32, {.file = folder / "a.wav", .duration = {}}, {codec, {}});
      EXPECT_NEAR(flash_time(folder / "a.mp4"), 2.0, 1e-4);
      const DecodedSound sound = read_sound(folder / "a.mp4");
      EXPECT_EQ(sound.codec, "aac");
      EXPECT_EQ(sound.rate, rate == 192000 ? 48000 : rate);
      // AAC smears a click by a fraction of its block of 1024 samples.
      EXPECT_NEAR(click_time(sound), 2.0, 0.002 + 64.0 / sound.rate);
      EXPECT_NEAR(sound.seconds, 3.0, 0.002);
    }
  }
}

TEST(Mp4Sound, StartIsKept) {
  const TempFolder folder;
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 32};
  write_wav(folder / "a.wav", click(5, 3, 16000), 16000);
  for (const double start : {2.0, 1.8125, 2.5}) {
    write_flash(folder / "a.mp4", format, 0, {.file = folder / "a.wav", .start = start, .duration = {}});
    EXPECT_NEAR(click_time(read_sound(folder / "a.mp4")), 3 - start, 0.006) << start;
  }
}

TEST(Mp4Sound, TheShorterOneEndsBoth) {
  const TempFolder folder;
  write_wav(folder / "long.wav", click(5, 0.1, 44100), 44100);
  write_wav(folder / "short.wav", click(1.01, 0.1, 44100), 44100);
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 32};
  write_flash(folder / "a.mp4", format, 0, {.file = folder / "long.wav", .duration = {}});
  EXPECT_EQ(read_video(folder / "a.mp4").yuv.size(), 32u);
  EXPECT_NEAR(read_sound(folder / "a.mp4").seconds, 2.0, 0.001);
  // Of 17 frames the last begins at 1.0 s, before the sound is over.
  write_flash(folder / "b.mp4", format, 0, {.file = folder / "short.wav", .duration = {}});
  EXPECT_EQ(read_video(folder / "b.mp4").yuv.size(), 17u);
  EXPECT_NEAR(read_sound(folder / "b.mp4").seconds, 1.01, 0.001);
  write_flash(folder / "c.mp4", format, 0, {.file = folder / "long.wav", .duration = 0.5});
  EXPECT_EQ(read_video(folder / "c.mp4").yuv.size(), 8u);
}

TEST(Mp4Sound, ManyChannelsBecomeTwoAndOneStaysOne) {
  const TempFolder folder;
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 4};
  for (const auto& [name, channels] : {std::pair("s16_48000_8ch.wav", 2), std::pair("s16_48000_6ch.flac", 2),
                                       std::pair("s16_44100_stereo.wav", 2), std::pair("s16_16000.wav", 1),
                                       std::pair("cover_44100.mp3", 2), std::pair("video_44100.mp4", 2)}) {
    write_flash(folder / "a.mp4", format, 0, {.file = sound_file(name), .duration = {}});
    EXPECT_EQ(read_sound(folder / "a.mp4").channels, channels) << name;
  }
}

TEST(Mp4Sound, TheIndexComesFirstAndPicturesAndSoundTakeTurns) {
  const TempFolder folder;
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 160};
  write_wav(folder / "a.wav", click(10, 0.1, 16000), 16000);
  for (const char* name : {"a.mp4", "b.mp4"})
    write_flash(folder / name, format, 0, {.file = folder / "a.wav", .duration = {}});
  const std::string bytes = bytes_of(folder / "a.mp4");
  EXPECT_EQ(bytes, bytes_of(folder / "b.mp4"));
  EXPECT_LT(bytes.find("moov"), bytes.find("mdat"));
  // In the file no packet is more than a second away from its neighbours of the other kind.
  EXPECT_LT(test::largest_gap(folder / "a.mp4"), 1.0);
}

TEST(Mp4Sound, AWrongSoundLeavesNoFile) {
  const TempFolder folder;
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 4};
  const auto refused = [&](ErrorCode code, const char* part, const SoundTrack& sound) {
    expect_error(code, part, [&] { make_frame_sink(folder / "a.mp4", format, {}, {}, sound); });
  };
  refused(ErrorCode::kBadFile, "none.wav", {.file = folder / "none.wav", .duration = {}});
  refused(ErrorCode::kBadFile, "has no sound", {.file = sound_file("plain.mp4"), .duration = {}});
  refused(ErrorCode::kInvalidArgument, "start earlier",
          {.file = sound_file("s16_16000.wav"), .start = 1, .duration = {}});
  EXPECT_EQ(folder.count(), 0);
  EXPECT_NO_THROW(check_output_writable(folder / "a.mp4", 4, {}, SoundTrack{}));
}

}  // namespace
}  // namespace wan
