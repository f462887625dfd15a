// Images from files: every golden file's pixels equal Pillow's, bit for bit; limits; orientation; errors.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "media/image_orientation.h"
#include "media/load_image.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::golden_path;

const fs::path kFiles = golden_path("images/files");

// Where two images part first, for the message; empty when they are equal.
std::string difference(const Image& image, const Tensor& expected) {
  if (expected.shape() != Shape{image.height, image.width, 3})
    return std::to_string(image.width) + "x" + std::to_string(image.height);
  const std::uint8_t* levels = expected.as<std::uint8_t>();
  int largest = 0;
  std::size_t count = 0;
  std::size_t first = image.rgb.size();
  for (std::size_t i = 0; i < image.rgb.size(); ++i) {
    const int distance = std::abs(image.rgb[i] - levels[i]);
    if (distance == 0) continue;
    largest = std::max(largest, distance);
    first = std::min(first, i);
    ++count;
  }
  if (count == 0) return {};
  return std::to_string(count) + " levels differ, by up to " + std::to_string(largest) + ", first " +
         std::to_string(first);
}

TEST(ImageFiles, EveryGoldenFileReadsAsPillowReadsIt) {
  const test::GoldenFile golden(golden_path("images/images.safetensors"));
  const std::vector<std::string> names = golden.names("rgb.");
  ASSERT_EQ(names.size(), 113u);
  EXPECT_EQ(std::distance(fs::directory_iterator(kFiles), {}), 113);
  for (const std::string& name : names)
    EXPECT_EQ(difference(load_image(kFiles / name), golden.tensor("rgb." + name)), "") << name;
}

TEST(ImageFiles, LimitsAreHeldAgainstTheHeader) {
  for (const char* name : {"444.jpg", "444_progressive.jpg", "lossy.webp"}) {
    EXPECT_EQ(load_image(kFiles / name, {.max_pixels = 37 * 29, .max_side = 37}).width, 37) << name;
    expect_error(ErrorCode::kBadFile,
                 "37x29 is beyond the limits of 1072 pixels and 37 a side; make it smaller",
                 [&] { load_image(kFiles / name, {.max_pixels = 37 * 29 - 1, .max_side = 37}); });
    expect_error(ErrorCode::kBadFile, "beyond the limits of 1073 pixels and 36 a side",
                 [&] { load_image(kFiles / name, {.max_pixels = 37 * 29, .max_side = 36}); });
  }
  expect_error(ErrorCode::kBadFile, "13x7 is beyond the limits",
               [&] { load_image(kFiles / "rgb_8.png", {.max_pixels = 90}); });
}

TEST(ImageFiles, WhatIsNoImageIsNamed) {
  expect_error(ErrorCode::kBadFile, (kFiles / "missing.png").string(),
               [&] { load_image(kFiles / "missing.png"); });
  expect_error(ErrorCode::kBadFile, "not a regular file", [&] { load_image(kFiles); });
}

TEST(ImageOrientation, TurnsAsExifSays) {
  // 3x2 pixels a b c / d e f, as they are to be shown.
  const char* const shown[] = {"",       "abcdef", "cbafed", "fedcba", "defabc",
                               "adbecf", "daebfc", "fcebda", "cfbead"};
  Image stored = make_image(3, 2);
  for (std::size_t i = 0; i < 6; ++i) std::memset(&stored.rgb[3 * i], "abcdef"[i], 3);
  for (int orientation = 0; orientation <= 9; ++orientation) {
    const Image upright = make_upright(stored, orientation);
    const bool turned = orientation >= 5 && orientation <= 8;
    EXPECT_EQ(upright.width, turned ? 2 : 3) << orientation;
    EXPECT_EQ(upright.height, turned ? 3 : 2) << orientation;
    std::string levels;
    for (std::size_t i = 0; i < upright.rgb.size(); i += 3) levels += static_cast<char>(upright.rgb[i]);
    EXPECT_EQ(levels, shown[orientation % 9 == 0 ? 1 : orientation]) << orientation;
  }
}

TEST(Image, CropTakesAPartOnly) {
  Image image = make_image(5, 4);
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<std::uint8_t>(i);
  const Image part = crop(image, 2, 1, 3, 2);
  EXPECT_EQ(part.width, 3);
  EXPECT_EQ(part.height, 2);
  EXPECT_EQ(part.rgb, (std::vector<std::uint8_t>{21, 22, 23, 24, 25, 26, 27, 28, 29,  //
                                                 36, 37, 38, 39, 40, 41, 42, 43, 44}));
  EXPECT_EQ(crop(image, 0, 0, 5, 4).rgb, image.rgb);
  for (const auto& [x, y, w, h] : {std::array{3, 0, 3, 1},
                                   {0, 3, 1, 2},
                                   {-1, 0, 1, 1},
                                   {0, -1, 1, 1},
                                   {0, 0, 0, 1},
                                   {0, 0, 1, -1},
                                   {2147483647, 0, 2, 1},
                                   {0, 0, 6, 1}})
    expect_error(ErrorCode::kInvalidArgument, "a part of 5x4 pixels", [&] { crop(image, x, y, w, h); });
  expect_error(ErrorCode::kInvalidArgument, "positive size", [] { make_image(0, 3); });
}

TEST(Image, UnitRangeEqualsTorchvision) {
  const Tensor expected = test::GoldenFile(golden_path("images/images.safetensors")).tensor("unit");
  std::vector<std::uint8_t> levels(256);
  for (std::size_t i = 0; i < 256; ++i) levels[i] = static_cast<std::uint8_t>(i);
  std::vector<float> values(256);
  to_unit_range(levels, values);
  EXPECT_EQ(std::memcmp(values.data(), expected.as<float>(), 256 * sizeof(float)), 0);
  EXPECT_EQ(values.front(), -1.0f);
  EXPECT_EQ(values.back(), 1.0f);
  levels.pop_back();
  expect_error(ErrorCode::kInvalidArgument, "as many values", [&] { to_unit_range(levels, values); });
}

}  // namespace
}  // namespace wan
