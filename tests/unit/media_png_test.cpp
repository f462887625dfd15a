// PNG stills and sequences: pixels, text chunks, and what is left after failures.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "json/strict_json.h"
#include "media/output.h"
#include "media/png_encode.h"
#include "media/png_writer.h"
#include "support/expect_error.h"
#include "support/full_disk.h"
#include "support/png_reader.h"
#include "support/temp_folder.h"
#include "support/test_frames.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::grey_frame;
using test::noise_frame;
using test::TempFolder;

const Metadata kMetadata = {
    {"prompt", "一只猫 jumps — \"high\"\nand far"}, {"negative_prompt", ""}, {"seed", "42"}};

TEST(Png, StillKeepsPixelsAndMetadata) {
  const TempFolder folder;
  const VideoFormat format{.width = 33, .height = 17, .frame_count = 1};
  const auto rgb = noise_frame(33, 17, 1);
  const auto sink = make_frame_sink(folder / "a.png", format, kMetadata);
  sink->write(rgb.data());
  EXPECT_FALSE(fs::exists(folder / "a.png"));
  sink->finish();
  const test::DecodedPng png = test::read_png(folder / "a.png");
  EXPECT_EQ(png.width, 33);
  EXPECT_EQ(png.height, 17);
  EXPECT_TRUE(png.srgb);
  EXPECT_EQ(png.rgb, rgb);
  ASSERT_EQ(png.texts.size(), 5u);
  EXPECT_TRUE(png.all_texts_are_utf8);
  EXPECT_EQ(png.texts[0].first, "Title");
  EXPECT_EQ(png.texts[0].second, "一只猫 jumps — \"high\" and far");
  EXPECT_EQ(png.texts[1].first, "Comment");
  EXPECT_EQ(parse_strict_json(png.texts[1].second, "comment", 2)["prompt"], kMetadata[0].second);
  EXPECT_EQ(Metadata(png.texts.begin() + 2, png.texts.end()), kMetadata);
  EXPECT_EQ(folder.count(), 1);
}

TEST(Png, SameInputGivesSameBytes) {
  const auto rgb = noise_frame(16, 16, 3);
  EXPECT_EQ(encode_png(rgb.data(), 16, 16, kMetadata), encode_png(rgb.data(), 16, 16, kMetadata));
  expect_error(ErrorCode::kInvalidArgument, "positive size", [&] { encode_png(rgb.data(), 0, 16, {}); });
  expect_error(ErrorCode::kInvalidArgument, "key", [&] { encode_png(rgb.data(), 16, 16, {{"ö", "x"}}); });
  expect_error(ErrorCode::kInternal, "cannot encode", [&] { encode_png(rgb.data(), 2'000'000, 1, {}); });
}

TEST(Png, SequenceAppearsAtFinish) {
  const TempFolder folder;
  const VideoFormat format{.width = 32, .height = 16, .fps = 8, .frame_count = 12};
  const auto sink = make_frame_sink(folder / "f_%03d.png", format, kMetadata);
  for (unsigned i = 0; i < 12; ++i) sink->write(noise_frame(32, 16, i).data());
  EXPECT_FALSE(fs::exists(folder / "f_000.png"));
  sink->finish();
  EXPECT_EQ(folder.count(), 12);
  for (unsigned i = 0; i < 12; ++i) {
    const test::DecodedPng png =
        test::read_png(folder / (i < 10 ? "f_00" : "f_0") += std::to_string(i) + ".png");
    EXPECT_EQ(png.rgb, noise_frame(32, 16, i)) << i;
    EXPECT_EQ(png.texts.size(), 5u);
  }
}

TEST(Png, FramesInWorkAreLeftAloneByOtherRuns) {
  const TempFolder folder;
  const VideoFormat format{.width = 32, .height = 16, .fps = 8, .frame_count = 20};
  const auto sink = make_png_sequence(FramePattern(folder / "f_%d.png"), format, {});
  for (unsigned i = 0; i < 20; ++i) sink->write(noise_frame(32, 16, i).data());
  check_output_writable(folder / "f_%d.png", 20);  // what a run does that begins now
  sink->finish();
  EXPECT_EQ(folder.count(), 20);
}

TEST(Png, UnfinishedOutputLeavesNothing) {
  const TempFolder folder;
  const VideoFormat format{.width = 32, .height = 16, .fps = 8, .frame_count = 3};
  for (const char* name : {"a.png", "a_%d.png"}) {
    {
      const VideoFormat own{.width = 32, .height = 16, .fps = 8, .frame_count = name[1] == '.' ? 1 : 3};
      const auto sink = make_frame_sink(folder / name, own, {});
      sink->write(noise_frame(32, 16, 0).data());
    }
    EXPECT_EQ(folder.count(), 0) << name;
  }
  expect_error(ErrorCode::kIo, "missing",
               [&] { make_frame_sink(folder / "missing" / "%d.png", format, {}); });
  expect_error(ErrorCode::kInvalidArgument, "positive size",
               [&] { make_frame_sink(folder / "a.png", {.width = 0, .height = 4, .frame_count = 1}, {}); });
}

TEST(Png, AFrameThatCannotBePlacedTakesTheOthersAway) {
  const TempFolder folder;
  fs::create_directory(folder / "disk");
  fs::create_symlink("disk/there.png", folder / "f_1.png");
  {
    const auto sink = make_png_sequence(FramePattern(folder / "f_%d.png"), {.width = 8, .height = 8}, {});
    for (std::uint8_t i = 0; i < 12; ++i) sink->write(grey_frame(8, 8, i).data());
    fs::create_directories(folder / "f_2.png" / "in the way");  // of a frame that is encoded
    expect_error(ErrorCode::kIo, "f_2.png", [&] { sink->finish(); });
  }
  EXPECT_EQ(folder.count(), 3);
  EXPECT_TRUE(fs::is_symlink(folder / "f_1.png"));
  EXPECT_TRUE(fs::is_empty(folder / "disk"));
}

TEST(Png, FullDiskIsReportedAndLeavesNothing) {
  const TempFolder folder;
  const VideoFormat format{.width = 128, .height = 128, .fps = 8, .frame_count = 20};
  {
    const test::FileSizeLimit limit(20'000);  // a noise frame has 49 kB
    const auto sink = make_frame_sink(folder / "f_%d.png", format, {});
    expect_error(ErrorCode::kIo, "f_0.png: File too large", [&] {
      for (unsigned i = 0; i < 20; ++i) sink->write(noise_frame(128, 128, i).data());
      sink->finish();
    });
  }
  EXPECT_EQ(folder.count(), 0);
}

}  // namespace
}  // namespace wan
