// Resizing as Pillow and PyTorch do it, and the sizes that the official tasks derive.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "media/image_size.h"
#include "media/resample.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace wan {
namespace {

using test::expect_error;
using test::golden_path;
using test::GoldenFile;

GoldenFile golden_file() {
  return GoldenFile(golden_path("images/images.safetensors"));
}

Image image_of(const Tensor& levels) {
  Image image = make_image(static_cast<int>(levels.shape()[1]), static_cast<int>(levels.shape()[0]));
  std::copy_n(levels.as<std::uint8_t>(), image.rgb.size(), image.rgb.begin());
  return image;
}

struct Case {
  std::string input;   // name of the image
  std::string output;  // name of the resized one
  int width = 0;
  int height = 0;
};

std::vector<Case> cases(const GoldenFile& golden, const std::string& prefix) {
  std::vector<Case> result;
  for (const std::string& name : golden.names(prefix)) {
    const std::size_t dot = name.find('.');
    Case one{prefix + name.substr(0, dot) + ".in", prefix + name};
    if (std::sscanf(name.c_str() + dot, ".%dx%d", &one.width, &one.height) == 2) result.push_back(one);
  }
  return result;
}

TEST(ResizeBicubic, OfBytesEqualsPillow) {
  const GoldenFile golden(golden_path("qwen/models/vl.safetensors"));
  const Image picture = image_of(golden.tensor("picture"));
  for (const char* name : {"resized.0", "resized.1"}) {
    const Image expected = image_of(golden.tensor(name));
    EXPECT_EQ(resize_bicubic(picture, expected.width, expected.height).rgb, expected.rgb) << name;
  }
}

TEST(ResizeLanczos, EqualsPillow) {
  const GoldenFile golden = golden_file();
  const std::vector<Case> all = cases(golden, "lanczos.");
  ASSERT_EQ(all.size(), 16u);
  for (const Case& one : all) {
    const Image resized = resize_lanczos(image_of(golden.tensor(one.input)), one.width, one.height);
    EXPECT_EQ(resized.width, one.width);
    EXPECT_EQ(resized.height, one.height);
    EXPECT_EQ(resized.rgb, image_of(golden.tensor(one.output)).rgb) << one.output;
  }
}

TEST(ResizeLanczos, LeavesAnImageOfTheSameSizeAlone) {
  const Image image = image_of(golden_file().tensor("lanczos.noise.in"));
  EXPECT_EQ(resize_lanczos(image, image.width, image.height).rgb, image.rgb);
  expect_error(ErrorCode::kInvalidArgument, "positive sizes", [&] { resize_lanczos(image, 0, 5); });
  expect_error(ErrorCode::kInvalidArgument, "positive sizes", [&] { resize_lanczos(Image{}, 5, 5); });
}

TEST(ResizeBicubic, EqualsPyTorch) {
  const GoldenFile golden = golden_file();
  const std::vector<Case> all = cases(golden, "bicubic.");
  ASSERT_EQ(all.size(), 10u);
  for (const Case& one : all) {
    const Image image = image_of(golden.tensor(one.input));
    const test::Expected expected = golden.expected(one.output);
    std::vector<float> values(image.rgb.size());
    to_unit_range(image.rgb, values);
    std::vector<float> resized(static_cast<std::size_t>(expected.whole.elements()));
    resize_bicubic(values, image.width, image.height, resized, one.width, one.height);
    // 16 products of values up to 1 and weights up to 1, rounded in another order.
    float worst = 0.0f;
    for (std::int64_t i = 0; i < expected.kept.elements(); ++i)
      worst = std::fmax(worst, std::fabs(resized[static_cast<std::size_t>(i * expected.step)] -
                                         expected.kept.as<float>()[i]));
    EXPECT_LE(worst, 1e-6f) << one.output;
  }
}

TEST(ResizeBicubic, ChecksItsSizes) {
  std::vector<float> in(2 * 3 * 3);
  std::vector<float> out(4 * 4 * 3);
  expect_error(ErrorCode::kInvalidArgument, "expected 2x3 pixels to 4x5, got 18 and 48 values",
               [&] { resize_bicubic(in, 2, 3, out, 4, 5); });
  expect_error(ErrorCode::kInvalidArgument, "expected 3x3 pixels",
               [&] { resize_bicubic(in, 3, 3, out, 4, 4); });
  expect_error(ErrorCode::kInvalidArgument, "expected -2x-3 pixels",
               [&] { resize_bicubic(in, -2, -3, out, 4, 4); });
}

// The rows of an int32 [N, columns] array.
std::vector<std::vector<int>> rows_of(const Tensor& table) {
  const std::int64_t columns = table.shape()[1];
  std::vector<std::vector<int>> rows;
  for (const std::int32_t *row = table.as<std::int32_t>(), *end = row + table.elements(); row < end;
       row += columns)
    rows.emplace_back(row, row + columns);
  return rows;
}

TEST(ImageSizes, AreaRuleOfImageToVideoIsTheOfficialOne) {
  const GoldenFile golden = golden_file();
  const auto inputs = rows_of(golden.tensor("sizes.i2v"));
  const auto results = rows_of(golden.tensor("sizes.i2v.result"));
  ASSERT_GE(inputs.size(), 850u);
  ASSERT_EQ(inputs.size(), results.size());
  int refused = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<int>& in = inputs[i];
    const auto size = [&] { return area_size_i2v({in[0], in[1]}, in[2], in[3], in[4]); };
    SCOPED_TRACE(testing::Message() << in[0] << 'x' << in[1] << " in " << in[2] << ", " << in[3] << ", "
                                    << in[4]);
    if (results[i][0] == 0) {
      ++refused;
      expect_error(ErrorCode::kInvalidArgument, "less extreme aspect ratio", size);
    } else {
      EXPECT_EQ(size(), (ImageSize{results[i][0], results[i][1]}));
    }
  }
  EXPECT_GE(refused, 15);
}

TEST(ImageSizes, BestOutputSizeAndCropAreTheOfficialOnes) {
  const GoldenFile golden = golden_file();
  const auto inputs = rows_of(golden.tensor("sizes.ti2v"));
  const auto results = rows_of(golden.tensor("sizes.ti2v.result"));
  ASSERT_GE(inputs.size(), 850u);
  ASSERT_EQ(inputs.size(), results.size());
  int refused = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<int>& in = inputs[i];
    const std::vector<int>& out = results[i];
    const ImageSize image{in[0], in[1]};
    const auto size = [&] { return best_output_size(image, in[2], in[3], in[4]); };
    SCOPED_TRACE(testing::Message() << in[0] << 'x' << in[1] << " in " << in[4] << ", " << in[2] << ", "
                                    << in[3]);
    if (out[0] == 0) {
      ++refused;
      expect_error(ErrorCode::kInvalidArgument, "less extreme aspect ratio", size);
    } else {
      ASSERT_EQ(size(), (ImageSize{out[0], out[1]}));
      const CoverCrop cover = cover_crop(image, size());
      EXPECT_EQ(cover.resized, (ImageSize{out[2], out[3]}));
      EXPECT_EQ(cover.x, out[4]);
      EXPECT_EQ(cover.y, out[5]);
    }
  }
  EXPECT_GE(refused, 15);
}

TEST(ImageSizes, RefusesSizesThatAreNone) {
  for (const ImageSize image : {ImageSize{0, 5}, {5, -1}}) {
    expect_error(ErrorCode::kInvalidArgument, "positive sizes", [&] { area_size_i2v(image, 1000, 8, 2); });
    expect_error(ErrorCode::kInvalidArgument, "positive sizes",
                 [&] { best_output_size(image, 32, 32, 1000); });
    expect_error(ErrorCode::kInvalidArgument, "positive sizes", [&] { cover_crop(image, {32, 32}); });
  }
  expect_error(ErrorCode::kInvalidArgument, "between 1 and", [] { area_size_i2v({5, 5}, 0, 8, 2); });
  expect_error(ErrorCode::kInvalidArgument, "between 1 and", [] { area_size_i2v({5, 5}, 1ll << 40, 8, 2); });
  expect_error(ErrorCode::kInvalidArgument, "cannot cover", [] { cover_crop({1, 65535}, {65536, 16}); });
}

}  // namespace
}  // namespace wan
