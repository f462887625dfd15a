// Frames to 8 bits, .npy and safetensors files, metadata.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "base/checked_math.h"
#include "json/strict_json.h"
#include "media/frames.h"
#include "media/metadata.h"
#include "media/npy.h"
#include "media/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::expect_error;
using test::TempFolder;

const fs::path kGolden = fs::path(WAN_GOLDEN_DIR) / "media";

NpyView parse(const std::string& content) {
  return parse_npy(std::as_bytes(std::span(content)), "test.npy");
}

// A .npy file of format 1.0 with this header and so many bytes of elements.
std::string npy_with(std::string dict, std::size_t data_bytes) {
  dict += '\n';
  std::string file = std::string("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(dict.size() & 0xff);
  file += static_cast<char>(dict.size() >> 8);
  return file + dict + std::string(data_bytes, '\1');
}

TEST(Frames, LevelsEqualTheOfficialOnes) {
  const auto values = NpyFile(kGolden / "frame_values.npy").view().values<float>();
  const auto expected = NpyFile(kGolden / "frame_levels.npy").view().values<std::uint8_t>();
  ASSERT_EQ(values.size(), 1034u);
  std::vector<std::uint8_t> levels(values.size());
  EXPECT_EQ(quantize_levels(values, levels), 2);  // both infinities
  EXPECT_EQ(levels, expected);
}

TEST(Frames, LevelsNeverDecreaseBetweenTheGoldenThresholds) {
  // The levels are then right between the thresholds as well. A step of 64 floats keeps it quick.
  std::vector<float> values;
  for (std::uint32_t bits = std::bit_cast<std::uint32_t>(0.001f); bits <= 0x3f800000u; bits += 64)
    values.push_back(std::bit_cast<float>(bits));
  std::vector<std::uint8_t> levels(values.size());
  EXPECT_EQ(quantize_levels(values, levels), 0);
  EXPECT_TRUE(std::is_sorted(levels.begin(), levels.end()));
  for (float& value : values) value = -value;
  quantize_levels(values, levels);
  EXPECT_TRUE(std::is_sorted(levels.rbegin(), levels.rend()));
}

TEST(Frames, NotFiniteValuesAreCounted) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {nan, 0.5f, -nan, inf, -inf, std::numeric_limits<float>::max()};
  std::vector<std::uint8_t> levels(values.size());
  EXPECT_EQ(quantize_levels(values, levels), 4);
  EXPECT_EQ(levels, (std::vector<std::uint8_t>{0, 191, 0, 255, 0, 255}));
  levels.pop_back();
  expect_error(ErrorCode::kInvalidArgument, "as many levels", [&] { quantize_levels(values, levels); });
}

TEST(Frames, PlanarFramesInterleave) {
  // [3, F = 2, H = 1, W = 5]; frame 1 begins at pixel 5 of each plane.
  std::vector<float> video(30);
  for (std::size_t i = 0; i < video.size(); ++i) video[i] = static_cast<float>(i) / 15.0f - 1.0f;
  video[17] = std::numeric_limits<float>::quiet_NaN();  // green, frame 1, pixel 2
  std::vector<std::uint8_t> rgb(15 + 2, 77);            // with a sentinel on either side
  EXPECT_EQ(quantize_planar_frame(video.data() + 5, 10, 5, rgb.data() + 1), 1);
  for (std::size_t pixel = 0; pixel < 5; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) {
      const std::size_t source = c * 10 + 5 + pixel;
      std::uint8_t expected = 0;
      quantize_levels({&video[source], 1}, {&expected, 1});
      EXPECT_EQ(rgb[1 + 3 * pixel + c], expected) << pixel << ' ' << c;
    }
  }
  EXPECT_EQ(rgb.front(), 77);
  EXPECT_EQ(rgb.back(), 77);
}

TEST(Npy, FilesOfNumpyReadAndWriteToTheSameBytes) {
  const TempFolder folder;
  for (const char* name : {"frame_values.npy", "frame_levels.npy"}) {
    const NpyFile file(kGolden / name);
    if (file.view().type == NpyType::kF32) {
      write_npy<float>(folder / name, file.view().values<float>(), file.view().shape);
    } else {
      write_npy<std::uint8_t>(folder / name, file.view().values<std::uint8_t>(), file.view().shape);
    }
    EXPECT_EQ(bytes_of(folder / name), bytes_of(kGolden / name)) << name;
  }
}

template <typename T>
void round_trip(std::vector<std::int64_t> shape) {
  const TempFolder folder;
  std::vector<T> values(static_cast<std::size_t>(checked_product(shape, "test")));
  std::iota(values.begin(), values.end(), T(1));
  write_npy<T>(folder / "a.npy", values, shape);
  const NpyFile file(folder / "a.npy");
  EXPECT_EQ(file.view().shape, shape);
  EXPECT_EQ(file.view().values<T>(), values);
}

TEST(Npy, TypesAndRanksRoundTrip) {
  round_trip<float>({2, 3, 5});
  round_trip<double>({7});
  round_trip<std::int64_t>({1, 512});
  round_trip<std::uint8_t>({3, 0, 2});
  round_trip<float>({});
}

TEST(Npy, PiecesGoAnywhereAndTheFileAppearsWhole) {
  const TempFolder folder;
  const std::int64_t shape[] = {3, 2, 4};  // [C, F, pixels], written frame by frame
  std::vector<float> expected(24);
  {
    NpyWriter writer(folder / "v.npy", NpyType::kF32, shape);
    for (int frame = 0; frame < 2; ++frame) {
      for (int c = 0; c < 3; ++c) {
        const std::int64_t first = (c * 2 + frame) * 4;
        std::vector<float> pixels(4);
        std::iota(pixels.begin(), pixels.end(), static_cast<float>(first));
        std::copy(pixels.begin(), pixels.end(), expected.begin() + first);
        writer.write_at<float>(first, pixels);
      }
    }
    EXPECT_FALSE(fs::exists(folder / "v.npy"));
    expect_error(ErrorCode::kInternal, "[npy]", [&] { writer.append<float>(std::vector<float>(1)); });
    writer.finish();
  }
  EXPECT_EQ(NpyFile(folder / "v.npy").view().values<float>(), expected);
  {
    NpyWriter writer(folder / "half.npy", NpyType::kF32, shape);
    writer.append<float>(std::vector<float>(23));
    expect_error(ErrorCode::kInternal, "expected 24 elements", [&] { writer.finish(); });
    expect_error(ErrorCode::kInternal, "[npy]", [&] { writer.write_at<float>(-1, std::vector<float>(1)); });
    expect_error(ErrorCode::kInternal, "[npy]", [&] { writer.append<float>(std::vector<float>(2)); });
    expect_error(ErrorCode::kInternal, "does not hold",
                 [&] { writer.append<double>(std::vector<double>(1)); });
  }
  EXPECT_EQ(folder.count(), 1);
}

TEST(Npy, HeadersInOtherSpellingsAreRead) {
  const NpyView view = parse(npy_with("{\"shape\":(2,3),  'fortran_order':False,'descr':'<i8'}", 48));
  EXPECT_EQ(view.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(view.size(), 6);
  EXPECT_EQ(parse(npy_with("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", 3)).size(), 3);
  // Format 2.0 counts its header in four bytes.
  const std::string dict = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }\n";
  std::string second = std::string("\x93NUMPY\x02\x00", 8) + static_cast<char>(dict.size()) +
                       std::string(3, '\0') + dict + std::string(8, '\0');
  EXPECT_EQ(parse(second).values<double>(), std::vector<double>{0.0});
}

TEST(Npy, BadFilesAreRefused) {
  const std::string good = npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8);
  EXPECT_EQ(parse(good).size(), 2);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_THROW(parse(good.substr(0, length)), Error) << length;
  }
  const auto bad_file = [](const std::string& part, const std::string& content) {
    expect_error(ErrorCode::kBadFile, part, [&] { parse(content); });
  };
  bad_file("not a .npy file", "PK\3\4 something else");
  bad_file("truncated", good.substr(0, good.size() - 1));
  bad_file("too long", good + "x");
  const std::string f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  bad_file("overflows", npy_with(f4 + "(4294967296, 4294967296), }", 8));
  bad_file("overflows", npy_with(f4 + "(4611686018427387904, ), }", 8));
  bad_file("truncated", npy_with(f4 + "(1000000000000, ), }", 8));
  bad_file("expected a header", npy_with(f4 + "(99999999999999999999, ), }", 8));
  bad_file("expected a header", npy_with(f4 + "(-2, ), }", 8));
  bad_file("expected a header", npy_with(f4 + "(2), }", 8));
  bad_file("expected a header", npy_with(f4 + "2, }", 8));
  bad_file("expected a header", npy_with(f4 + "(2,), } junk", 8));
  bad_file("expected a header", npy_with(f4 + "(2,), 'shape': (2,), }", 8));
  bad_file("expected a header", npy_with("{'descr': '<f4', 'shape': (2,), }", 8));
  bad_file("expected a header", npy_with("{'descr': '<f4, 'fortran_order': False, 'shape': (2,), }", 8));
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1,";
  bad_file("expected a header", npy_with(f4 + many + "), }", 4));
  expect_error(ErrorCode::kUnsupported, "got <f2",
               [&] { parse(npy_with("{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", 4)); });
  expect_error(ErrorCode::kUnsupported, "C order",
               [&] { parse(npy_with("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", 8)); });
  std::string third = good;
  third[6] = 3;
  expect_error(ErrorCode::kUnsupported, "got 3.0", [&] { parse(third); });
  expect_error(ErrorCode::kBadFile, "expected elements of type <f8, got <f4",
               [&] { parse(good).values<double>(); });
}

TEST(Safetensors, FileHasTheFormatsLayout) {
  const TempFolder folder;
  const std::vector<float> latents = {1, -2, 0.5f, 4, 5, 6}, other = {9};
  const SafetensorsEntry entries[] = {{"latents", {1, 2, 3, 1}, latents}, {"o", {}, other}};
  write_safetensors(folder / "l.safetensors", entries,
                    {{"prompt", "a \"red\" \xf0\x9f\x94\xb4 \xff"}, {"seed", "42"}});
  const std::string file = bytes_of(folder / "l.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  ASSERT_EQ(file.size(), 8 + length + 28);
  const auto header = parse_strict_json(file.substr(8, length), "header", 4);
  EXPECT_EQ(header["__metadata__"]["seed"], "42");
  EXPECT_EQ(header["__metadata__"]["prompt"], "a \"red\" \xf0\x9f\x94\xb4 \xef\xbf\xbd");
  EXPECT_EQ(header["latents"]["dtype"], "F32");
  EXPECT_EQ(header["latents"]["shape"], (std::vector<int>{1, 2, 3, 1}));
  EXPECT_EQ(header["latents"]["data_offsets"], (std::vector<int>{0, 24}));
  EXPECT_EQ(header["o"]["data_offsets"], (std::vector<int>{24, 28}));
  EXPECT_EQ(std::memcmp(file.data() + 8 + length, latents.data(), 24), 0);
  EXPECT_EQ(folder.count(), 1);
}

TEST(Safetensors, WrongEntriesAreRefused) {
  const TempFolder folder;
  const std::vector<float> two = {1, 2};
  const SafetensorsEntry short_one[] = {{"a", {3}, two}};
  const SafetensorsEntry twice[] = {{"a", {2}, two}, {"a", {2}, two}};
  const SafetensorsEntry reserved[] = {{"__metadata__", {2}, two}};
  expect_error(ErrorCode::kInvalidArgument, "expected 3 values",
               [&] { write_safetensors(folder / "x", short_one, {}); });
  expect_error(ErrorCode::kInvalidArgument, "differ", [&] { write_safetensors(folder / "x", twice, {}); });
  expect_error(ErrorCode::kInvalidArgument, "differ", [&] { write_safetensors(folder / "x", reserved, {}); });
  expect_error(ErrorCode::kIo, "missing", [&] { write_safetensors(folder / "missing" / "x", {}, {}); });
  EXPECT_EQ(folder.count(), 0);
}

TEST(MetadataTest, KeysAreChecked) {
  EXPECT_NO_THROW(check_metadata({{"prompt", ""}, {"negative prompt", "x"}}));
  for (const char* key : {"", " a", "a ", "pr\xc3\xb6mpt", "a\nb"})
    EXPECT_THROW(check_metadata({{key, "x"}}), Error) << key;
  EXPECT_THROW(check_metadata({{std::string(80, 'k'), "x"}}), Error);
  expect_error(ErrorCode::kInvalidArgument, "twice", [] { check_metadata({{"a", "1"}, {"a", "2"}}); });
}

TEST(MetadataTest, JsonKeepsTheOrder) {
  EXPECT_EQ(metadata_json({{"seed", "1"}, {"prompt", "\"q\"\xff"}}),
            "{\"seed\":\"1\",\"prompt\":\"\\\"q\\\"\xef\xbf\xbd\"}");
}

TEST(MetadataTest, TitlesAreCutBetweenWordsAndCodePoints) {
  EXPECT_EQ(title_of("  a red\n\tcircle  "), "a red circle");
  EXPECT_EQ(title_of(""), "");
  const std::string words(80, 'x');
  EXPECT_EQ(title_of(words), words);
  EXPECT_EQ(title_of(words + "y"), words + "…");
  EXPECT_EQ(title_of(std::string(60, 'a') + " " + std::string(30, 'b') + " c"), std::string(60, 'a') + "…");
  EXPECT_EQ(title_of(std::string(60, 'a') + " " + std::string(19, 'b') + " c"),
            std::string(60, 'a') + " " + std::string(19, 'b') + "…");
  std::string chinese, cut;
  for (int i = 0; i < 200; ++i) chinese += "猫";
  for (int i = 0; i < 80; ++i) cut += "猫";
  EXPECT_EQ(title_of(chinese), cut + "…");
}

}  // namespace
}  // namespace wan
