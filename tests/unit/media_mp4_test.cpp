// MP4 files decoded again: frames, rate, tags, metadata, colours; equal bytes; failures that leave nothing.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "json/strict_json.h"
#include "media/mp4_writer.h"
#include "media/output.h"
#include "media/rgb_to_yuv.h"
#include "media/video_color.h"
#include "media/video_encoder.h"
#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/full_disk.h"
#include "support/temp_folder.h"
#include "support/test_frames.h"
#include "support/video_reader.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::DecodedVideo;
using test::expect_error;
using test::grey_frame;
using test::noise_frame;
using test::read_video;
using test::TempFolder;

const Metadata kVideoMetadata = {{"prompt", "一只猫 jumps — \"high\" & <far>; a=b\nnext 🔴"},
                                 {"negative_prompt", ""},
                                 {"seed", "42"},
                                 {"size", "832*480"},
                                 {"version", "wan.cpp 0.1.0"}};

void write_grey_video(const fs::path& path, const VideoFormat& format, const Metadata& metadata,
                      const VideoEncoding& encoding = {}) {
  const auto sink = make_frame_sink(path, format, metadata, encoding);
  for (int i = 0; i < format.frame_count; ++i) {
    sink->write(grey_frame(format.width, format.height, static_cast<std::uint8_t>(20 + 10 * i)).data());
  }
  sink->finish();
}

TEST(Mp4, FramesSizeRateAndTagsAreRight) {
  const TempFolder folder;
  const VideoFormat format{.width = 128, .height = 96, .fps = 16, .frame_count = 17};
  write_grey_video(folder / "a.mp4", format, kVideoMetadata);
  const DecodedVideo video = read_video(folder / "a.mp4");
  EXPECT_EQ(video.codec, "h264");
  EXPECT_EQ(video.pixel_format, "yuv420p");
  EXPECT_EQ(video.width, 128);
  EXPECT_EQ(video.height, 96);
  EXPECT_EQ(video.rate, (std::array<int, 2>{16, 1}));
  EXPECT_NEAR(video.seconds, 17.0 / 16, 1e-3);  // the container counts milliseconds
  EXPECT_EQ(video.range, AVCOL_RANGE_MPEG);
  EXPECT_EQ(video.matrix, AVCOL_SPC_SMPTE170M);
  EXPECT_EQ(video.primaries, AVCOL_PRI_BT709);
  EXPECT_EQ(video.transfer, AVCOL_TRC_BT709);
  EXPECT_EQ(video.chroma_location, AVCHROMA_LOC_LEFT);
  ASSERT_EQ(video.yuv.size(), 17u);
  for (std::size_t i = 0; i < 17; ++i) {
    EXPECT_NEAR(video.times[i], static_cast<double>(i) / 16, 1e-6);
    // In order and of the right level; a flat frame is coded within a level of rounding.
    EXPECT_NEAR(video.yuv[i][0][5000], 16 + (20 + 10 * static_cast<double>(i)) * 219 / 255, 1.01);
  }
  // The tags are in the container as well, and its index stands before the pictures.
  const std::string bytes = bytes_of(folder / "a.mp4");
  EXPECT_NE(bytes.find("colrnclx"), std::string::npos);
  EXPECT_LT(bytes.find("moov"), bytes.find("mdat"));
  EXPECT_EQ(folder.count(), 1);
}

TEST(Mp4, OtherRatesAndASingleFrame) {
  const TempFolder folder;
  write_grey_video(folder / "n.mp4", {.width = 64, .height = 64, .fps = 23.976, .frame_count = 5}, {});
  const DecodedVideo video = read_video(folder / "n.mp4");
  EXPECT_EQ(video.rate, (std::array<int, 2>{24000, 1001}));
  EXPECT_EQ(video.yuv.size(), 5u);
  write_grey_video(folder / "one.mp4", {.width = 64, .height = 64, .fps = 24, .frame_count = 1}, {});
  const DecodedVideo one = read_video(folder / "one.mp4");
  EXPECT_EQ(one.yuv.size(), 1u);
  EXPECT_NEAR(one.seconds, 1.0 / 24, 1e-3);
}

TEST(Mp4, MetadataComesBack) {
  const TempFolder folder;
  Metadata metadata = kVideoMetadata;
  metadata.emplace_back("long", std::string(20'000, 'x') + "猫");
  write_grey_video(folder / "a: b.mp4", {.width = 64, .height = 64, .fps = 16, .frame_count = 2}, metadata);
  const DecodedVideo video = read_video(folder / "a: b.mp4");
  for (const auto& [key, value] : metadata) {
    ASSERT_TRUE(video.metadata.contains(key)) << key;
    EXPECT_EQ(video.metadata.at(key), value);
  }
  EXPECT_EQ(video.metadata.at("title"), "一只猫 jumps — \"high\" & <far>; a=b next 🔴");
  const auto comment = parse_strict_json(video.metadata.at("comment"), "comment", 2);
  for (const auto& [key, value] : metadata) EXPECT_EQ(comment.at(key), value);
  EXPECT_FALSE(video.metadata.contains("creation_time"));
}

// Patches of 32 x 32 in a grid: primaries, secondaries, greys, and muted colours.
constexpr std::array<std::array<int, 3>, 20> kChart = {
    {{255, 0, 0},     {0, 255, 0},     {0, 0, 255},    {255, 255, 0},   {0, 255, 255},
     {255, 0, 255},   {255, 255, 255}, {0, 0, 0},      {128, 128, 128}, {64, 64, 64},
     {200, 200, 200}, {224, 172, 138}, {87, 122, 61},  {60, 90, 160},   {180, 60, 70},
     {240, 220, 40},  {30, 60, 30},    {110, 70, 140}, {250, 130, 20},  {16, 235, 128}}};

struct ColorError {
  double mean = 0;
  double largest = 0;
};

ColorError chart_error(int width, int height, double kr, double kb) {
  const TempFolder folder;
  const int columns = width / 32;
  const auto patch_of = [&](int x, int y) {
    return kChart[static_cast<std::size_t>((y / 32 * columns + x / 32) % static_cast<int>(kChart.size()))];
  };
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const int level : patch_of(x, y)) rgb.push_back(static_cast<std::uint8_t>(level));
    }
  }
  const auto sink = make_frame_sink(folder / "chart.mp4",
                                    {.width = width, .height = height, .fps = 16, .frame_count = 3}, {});
  for (int i = 0; i < 3; ++i) sink->write(rgb.data());
  sink->finish();
  const DecodedVideo video = read_video(folder / "chart.mp4");
  EXPECT_EQ(video.matrix, is_bt709(width, height) ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M);
  ColorError error;
  int count = 0;
  const auto& frame = video.yuv.at(1);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (x % 32 < 8 || x % 32 >= 24 || y % 32 < 8 || y % 32 >= 24) continue;  // off the edges
      const auto luma = static_cast<std::size_t>(y * width + x);
      const auto chroma = static_cast<std::size_t>(y / 2 * (width / 2) + x / 2);
      const auto got = test::yuv_to_rgb(frame[0][luma], frame[1][chroma], frame[2][chroma], kr, kb);
      for (std::size_t c = 0; c < 3; ++c) {
        const double difference = std::abs(got[c] - patch_of(x, y)[c]);
        error.mean += difference;
        error.largest = std::max(error.largest, difference);
        ++count;
      }
    }
  }
  error.mean /= count;
  return error;
}

TEST(Mp4, ColorsSurvive) {
  // Rounding Y, U and V to 8 bits moves a channel by up to 1.6 levels (0.5 * 255 / 219 + 0.5 * 1.8556 * 255 /
  // 224); the codec at this quality may add as much. The wrong matrix is off by 5 in the mean.
  const ColorError small = chart_error(320, 192, 0.299, 0.114);
  EXPECT_LT(small.mean, 1.0);
  EXPECT_LT(small.largest, 3.5);
  const ColorError large = chart_error(1280, 704, 0.2126, 0.0722);
  EXPECT_LT(large.mean, 1.0);
  EXPECT_LT(large.largest, 3.5);
  EXPECT_GT(chart_error(320, 192, 0.2126, 0.0722).mean, 3.0) << "the comparison does not see a wrong matrix";
}

TEST(Mp4, ChromaIsSitedLeft) {
  // On a ramp a chroma sample has the value of its place: x = 2i when sited left, 2i + 0.5 when in the
  // middle.
  constexpr int kWidth = 128, kHeight = 16;
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) rgb.insert(rgb.end(), {static_cast<std::uint8_t>(2 * x), 0, 0});
  }
  RgbToYuv converter(kWidth, kHeight);
  const FfmpegPtr<AVFrame> frame = converter.convert(rgb.data());
  double offset = 0;  // in pixels, of the samples off the ends
  for (int i = 8; i < 56; ++i) {
    const double v = frame->data[2][4 * frame->linesize[2] + i];
    const double x = (v - 128) / (0.5 * 224 / 255) / 2;  // red alone: V = 128 + 112 * R / 255
    offset += (x - 2 * i) / 48;
  }
  EXPECT_NEAR(offset, 0.0, 0.15);  // rounding V leaves 1.14 / sqrt(12 * 48) = 0.05 in the mean
}

TEST(Mp4, SameInputGivesSameBytes) {
  const TempFolder folder;
  const VideoFormat format{.width = 160, .height = 96, .fps = 16, .frame_count = 33};
  for (const char* name : {"a.mp4", "b.mp4"}) {
    const auto sink = make_frame_sink(folder / name, format, kVideoMetadata);
    for (unsigned i = 0; i < 33; ++i) sink->write(noise_frame(160, 96, i / 3).data());
    sink->finish();
  }
  EXPECT_EQ(bytes_of(folder / "a.mp4"), bytes_of(folder / "b.mp4"));
  EXPECT_GT(fs::file_size(folder / "a.mp4"), 100'000u);
}

TEST(Mp4, ImpossibleFormatsAreRefused) {
  const TempFolder folder;
  const auto refused = [&](const char* part, VideoFormat format) {
    expect_error(ErrorCode::kInvalidArgument, part, [&] { make_frame_sink(folder / "a.mp4", format, {}); });
  };
  refused("even sizes", {.width = 129, .height = 96, .fps = 16, .frame_count = 1});
  refused("even sizes", {.width = 128, .height = 97, .fps = 16, .frame_count = 1});
  refused("even sizes", {.width = 32768, .height = 96, .fps = 16, .frame_count = 1});
  refused("frame rate", {.width = 128, .height = 96, .fps = 0, .frame_count = 1});
  const VideoFormat fine{.width = 128, .height = 96, .fps = 16, .frame_count = 1};
  expect_error(ErrorCode::kInvalidArgument, "key", [&] {
    make_frame_sink(folder / "a.mp4", fine, {{"", "x"}});
  });
  expect_error(ErrorCode::kIo, "missing", [&] { make_frame_sink(folder / "missing" / "a.mp4", fine, {}); });
  EXPECT_NO_THROW(check_output_writable(folder / "a.mp4", 1));
  EXPECT_EQ(folder.count(), 0);
}

TEST(Mp4, EveryCodecThatThereIsKeepsFramesRateAndTags) {
  const VideoFormat format{.width = 128, .height = 96, .fps = 23.976, .frame_count = 9};
  for (const auto& [codec, name, tag] :
       {std::tuple(VideoCodec::kH264, "h264", "avc1"), std::tuple(VideoCodec::kH265, "hevc", "hvc1"),
        std::tuple(VideoCodec::kAv1, "av1", "av01")}) {
    SCOPED_TRACE(name);
    if (video_encoders({codec, {}}).empty()) continue;  // another FFmpeg
    const TempFolder folder;
    for (const char* file : {"a.mp4", "b.mp4"})
      write_grey_video(folder / file, format, kVideoMetadata, {codec, {}});
    const DecodedVideo video = read_video(folder / "a.mp4");
    EXPECT_EQ(video.codec, name);
    EXPECT_EQ(video.pixel_format, "yuv420p");
    EXPECT_EQ(video.rate, (std::array<int, 2>{24000, 1001}));
    EXPECT_EQ(video.range, AVCOL_RANGE_MPEG);
    EXPECT_EQ(video.matrix, AVCOL_SPC_SMPTE170M);
    EXPECT_EQ(video.metadata.at("prompt"), kVideoMetadata[0].second);
    ASSERT_EQ(video.yuv.size(), 9u);
    for (std::size_t i = 0; i < 9; ++i) {
      EXPECT_NEAR(video.times[i], static_cast<double>(i) * 1001 / 24000, 1e-4);
      EXPECT_NEAR(video.yuv[i][0][5000], 16 + (20 + 10 * static_cast<double>(i)) * 219 / 255, 1.51);
    }
    const std::string bytes = bytes_of(folder / "a.mp4");
    EXPECT_NE(bytes.find(tag), std::string::npos);
    EXPECT_EQ(bytes_of(folder / "b.mp4"), bytes) << "a seed does not give the same bytes";
  }
}

/// The luma's mean square error against H.264 at CRF 0 of the same noise, and the file's bytes.
std::pair<double, std::uintmax_t> error_and_bytes(const VideoEncoding& encoding) {
  const TempFolder folder;
  const VideoFormat format{.width = 128, .height = 96, .fps = 16, .frame_count = 5};
  const auto write = [&](const char* name, const VideoEncoding& with) {
    const auto sink = make_frame_sink(folder / name, format, {}, with);
    for (unsigned i = 0; i < 5; ++i) sink->write(noise_frame(128, 96, i).data());
    sink->finish();
    return read_video(folder / name);
  };
  const DecodedVideo best = write("best.mp4", {VideoCodec::kH264, 0});
  const DecodedVideo video = write("a.mp4", encoding);
  double error = 0;
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t k = 0; k < best.yuv[i][0].size(); ++k) {
      const double difference = best.yuv[i][0][k] - static_cast<double>(video.yuv.at(i)[0][k]);
      error += difference * difference / static_cast<double>(5 * best.yuv[i][0].size());
    }
  return {error, fs::file_size(folder / "a.mp4")};
}

TEST(Mp4, CrfIsTheQuality) {
  for (const VideoCodec codec : {VideoCodec::kH264, VideoCodec::kH265, VideoCodec::kAv1}) {
    SCOPED_TRACE(video_codec_name(codec));
    if (video_encoders({codec, 1}).empty()) continue;  // another FFmpeg
    const auto [fine, large] = error_and_bytes({codec, default_crf(codec)});
    const auto [coarse, small] = error_and_bytes({codec, 45});
    EXPECT_GT(coarse, 4 * fine);
    EXPECT_LT(small, large / 2);
    EXPECT_EQ(error_and_bytes({codec, {}}), std::pair(fine, large)) << "the default is another";
  }
  check_encoding({VideoCodec::kAv1, 63});
  expect_error(ErrorCode::kInvalidArgument, "`crf` 52: expected 0 (best) to 51 of h264", [] {
    check_encoding({VideoCodec::kH264, 52});
  });
  expect_error(ErrorCode::kInvalidArgument, "`crf` -1", [] { check_encoding({VideoCodec::kAv1, -1}); });
  expect_error(ErrorCode::kInvalidArgument, "h264, h265 or av1", [] { parse_video_codec("vp9"); });
}

TEST(Mp4, AnotherEncoderStandsIn) {
  const VideoFormat format{.width = 64, .height = 64, .fps = 16, .frame_count = 2};
  const auto open = [&](const std::vector<const AVCodec*>& candidates, const VideoEncoding& encoding) {
    return open_video_encoder(candidates, format, {16, 1}, encoding, [](AVCodecContext&) {});
  };
  expect_error(ErrorCode::kUnsupported, "install an FFmpeg with libx264", [&] { open({}, {}); });
  expect_error(ErrorCode::kUnsupported, "install an FFmpeg with libsvtav1", [&] {
    open({}, {VideoCodec::kAv1, {}});
  });
  expect_error(ErrorCode::kUnsupported, "_%05d.png", [&] { open({}, {}); });
  const AVCodec* x264 = avcodec_find_encoder_by_name("libx264");
  const AVCodec* aom = avcodec_find_encoder_by_name("libaom-av1");
  if (x264 == nullptr || aom == nullptr) GTEST_SKIP() << "this FFmpeg lacks encoders";
  expect_error(ErrorCode::kUnsupported,
               "no av1 encoder (this FFmpeg has none); choose a `codec` that there is (h264", [&] {
                 open({}, {VideoCodec::kAv1, {}});
               });
  EXPECT_STREQ(video_encoders({}).front()->name, "libx264");
  EXPECT_STREQ(open({aom}, {VideoCodec::kAv1, 20})->codec->name, "libaom-av1");
  // Too small for SVT-AV1.
  const TempFolder folder;
  write_grey_video(folder / "a.mp4", {.width = 32, .height = 32, .fps = 16, .frame_count = 2}, {},
                   {VideoCodec::kAv1, {}});
  EXPECT_EQ(read_video(folder / "a.mp4").yuv.size(), 2u);
}

TEST(Mp4, UnfinishedOutputLeavesNothing) {
  const TempFolder folder;
  const VideoFormat format{.width = 128, .height = 96, .fps = 16, .frame_count = 60};
  { const auto sink = make_frame_sink(folder / "a.mp4", format, kVideoMetadata); }
  {
    const auto sink = make_frame_sink(folder / "a.mp4", format, kVideoMetadata);
    for (unsigned i = 0; i < 59; ++i) sink->write(noise_frame(128, 96, i).data());
  }
  EXPECT_EQ(folder.count(), 0);
}

void write_noise(const fs::path& path) {
  const VideoFormat format{.width = 128, .height = 96, .fps = 16, .frame_count = 100};
  const auto sink = make_frame_sink(path, format, {});
  for (unsigned i = 0; i < 100; ++i) sink->write(noise_frame(128, 96, i).data());
  sink->finish();
}

TEST(Mp4, FullDiskIsReportedAndLeavesNothing) {
  const TempFolder folder;
  // At the header, in the middle, and while the index is put in front: the whole file has about 1.7 MB.
  write_noise(folder / "whole.mp4");
  const std::uintmax_t whole = fs::file_size(folder / "whole.mp4");
  fs::remove(folder / "whole.mp4");
  for (const std::uintmax_t bytes : {std::uintmax_t{0}, std::uintmax_t{500'000}, whole - 100}) {
    const test::FileSizeLimit limit(bytes);
    expect_error(ErrorCode::kIo, "full.mp4: File too large", [&] { write_noise(folder / "full.mp4"); });
    EXPECT_EQ(folder.count(), 0) << bytes;
  }
}

TEST(Mp4, FullFileSystemIsReported) {
  const TempFolder folder;
  const test::SmallDisk disk(folder.path(), 512);
  if (!disk.mounted()) GTEST_SKIP() << "mounting needs root's rights";
  expect_error(ErrorCode::kIo, "full.mp4: No space left on device",
               [&] { write_noise(folder / "full.mp4"); });
  EXPECT_EQ(folder.count(), 0);
}

TEST(Mp4, AKilledProcessLeavesNoHalfFile) {
  const TempFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto sink =
        make_frame_sink(folder / "a.mp4", {.width = 128, .height = 96, .fps = 16, .frame_count = 100}, {});
    for (unsigned i = 0; i < 99; ++i) sink->write(noise_frame(128, 96, i).data());
    std::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_FALSE(fs::exists(folder / "a.mp4"));
}

}  // namespace
}  // namespace wan
