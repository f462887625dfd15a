// Image files that are damaged, truncated, hostile, or no images: an error that names the file and the remedy.

#include "media/load_image.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "format/file_builder.h"
#include "media/image_orientation.h"
#include "support/png_crc.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using std::string_literals::operator""s;
using test::png_crc;

const fs::path kFiles = fs::path(WAN_GOLDEN_DIR) / "images" / "files";

std::string file_named(const std::string& name) {
  std::ifstream stream(kFiles / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::map<std::string, std::string> all_files() {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(kFiles))
    files[entry.path().filename()] = file_named(entry.path().filename());
  return files;
}

// A copy of the bytes at a heap block's end, where a read beyond them is seen by the sanitizers.
Thrown decode_thrown(const std::string& file, const ImageLimits& limits = {}) {
  const std::vector<std::byte> exact(as_byte_span(file).begin(), as_byte_span(file).end());
  return thrown_by([&] { decode_image(exact, "a.img", limits); });
}

void expect_refused(const std::string& file, const std::string& part) {
  const Thrown thrown = decode_thrown(file);
  EXPECT_EQ(thrown.code, "bad_file") << thrown.message;
  EXPECT_NE(thrown.message.find(part), std::string::npos)
      << "expected \"" << part << "\" in: " << thrown.message;
  EXPECT_NE(thrown.message.find("a.img"), std::string::npos) << thrown.message;
}

std::string big_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}

TEST(ImageFormat, OtherFormatsAreNamedWithTheRemedy) {
  const std::pair<std::string, std::string> others[] = {
      {"GIF89a..........", "GIF"},
      {"GIF87a..........", "GIF"},
      {"BM\x36\0\0\0"s, "BMP"},
      {"II*\0\x08\0\0\0"s, "TIFF"},
      {"MM\0*\0\0\0\x08"s, "TIFF"},
      {"\0\0\0\x1c"s + "ftypavif\0\0\0\0"s, "AVIF"},
      {"\0\0\0\x18"s + "ftypheic\0\0\0\0"s, "HEIC"},
      {"\0\0\0\x18"s + "ftypmif1\0\0\0\0"s, "HEIC or AVIF"},
      {"\xff\x0a..", "JPEG XL"},
      {"\0\0\0\x0cjP  \r\n\x87\n"s, "JPEG 2000"},
      {"8BPS....", "Photoshop"},
  };
  for (const auto& [bytes, format] : others)
    expect_refused(bytes, "is a " + format + " file; JPEG, PNG and WebP are read: convert it to PNG");
}

TEST(ImageFormat, WhatIsNoImageIsRefused) {
  expect_refused("", "is empty; give a JPEG, PNG or WebP image");
  for (const std::string& bytes :
       {"x"s, "\xff\xd8"s, "\x89PNG"s, "RIFF"s, "RIFF\4\0\0\0WAVE"s, "a cat, as text"s})
    expect_refused(bytes, "is not an image that is read: give a JPEG, PNG or WebP file");
  expect_refused("\xff\xd8\xff", "truncated");
  expect_refused("\x89PNG\r\n\x1a\n", "truncated");
  expect_refused("RIFF\4\0\0\0WEBP"s, "truncated or malformed");
  EXPECT_EQ(thrown_by([] { load_image(kFiles); }).code, "bad_file");
}

TEST(ImageFormat, TruncatedFilesAreRefused) {
  for (const auto& [name, file] : all_files()) {
    // The last of a JPEG's bytes decide nothing: its end marker, and what a decoder has not asked for by then.
    std::size_t lengths = file.size();
    if (name.ends_with(".jpg")) lengths -= name == "trailing_bytes.jpg" ? 15 + 12 : 12;
    const std::size_t step = file.size() / 150 + 1;
    for (std::size_t length = 0; length < lengths; length += step) {
      const Thrown thrown = decode_thrown(file.substr(0, length));
      EXPECT_EQ(thrown.code, "bad_file") << name << " of " << length << ": " << thrown.message;
    }
    EXPECT_EQ(decode_thrown(file.substr(0, lengths - 1)).code, "bad_file") << name;
  }
}

TEST(ImageFormat, DamagedBytesGiveAnImageOrAnError) {
  int refused = 0;
  int read = 0;
  const ImageLimits limits{.max_pixels = 1 << 16};
  for (const auto& [name, file] : all_files()) {
    const std::size_t step = file.size() / 200 + 1;
    for (std::size_t i = 0; i < file.size(); i += step) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string damaged = file;
        damaged[i] = static_cast<char>(damaged[i] ^ flip);
        const Thrown thrown = decode_thrown(damaged, limits);
        EXPECT_TRUE(thrown.code.empty() || thrown.code == "bad_file")
            << name << ' ' << i << ": " << thrown.message;
        (thrown.code.empty() ? read : refused) += 1;
      }
    }
  }
  EXPECT_GT(refused, 5000);
  EXPECT_GT(read, 5000);
}

TEST(ImageFormat, HugeSizesAreRefusedFromTheHeader) {
  const std::string limits = "is beyond the limits of 178956970 pixels and 65535 a side; make it smaller";
  std::string jpeg = file_named("444.jpg");
  jpeg.replace(jpeg.find("\xff\xc0") + 5, 4, "\xff\xdc\xff\xdc");  // libjpeg itself refuses sides above 65500
  expect_refused(jpeg, "65500x65500 " + limits);
  for (const auto& [width, height] :
       {std::pair{65535u, 65535u}, {65536u, 1u}, {1u, 0x7fffffffu}, {0x7fffffffu, 1u}}) {
    // A header that is all there is: whatever follows is not looked at.
    const std::string body = "IHDR" + big_endian(width, 4) + big_endian(height, 4) + "\x10\6\0\0\1"s;
    const std::string sizes = std::to_string(width) + "x" + std::to_string(height) + " ";
    std::string png = "\x89PNG\r\n\x1a\n" + big_endian(13, 4) + body + big_endian(png_crc(body), 4);
    png += big_endian(0, 4) + "IDAT" + big_endian(png_crc("IDAT"), 4);
    expect_refused(png, sizes + limits);
  }
  std::string webp = file_named("animated_part.webp");
  webp.replace(webp.find("VP8X") + 12, 6, "\xfe\xff\0\xfe\xff\0"s);
  expect_refused(webp, "65535x65535 " + limits);
}

TEST(ImageFormat, JpegsThatAreNotReadSayWhy) {
  std::string file = file_named("444.jpg");
  const std::size_t frame = file.find("\xff\xc0");
  std::string deep = file;
  deep[frame + 4] = 12;
  expect_refused(deep, "precision 12; save it again as a PNG");
  std::string lossless = file;
  lossless[frame + 1] = '\xc3';
  expect_refused(lossless, "SOF type 0xc3; save it again as a PNG");
  // Without one of its three components.
  std::string two = file;
  two.replace(frame + 2, 2, "\0\x0e"s);
  two[frame + 9] = 2;
  two.erase(frame + 16, 3);
  const std::size_t scan = two.find("\xff\xda");
  two.replace(scan + 2, 3, "\0\x0a\2"s);
  two.erase(scan + 9, 2);
  expect_refused(two, "expected a JPEG with 1, 3 or 4 components, got 2; save it again as a PNG");
  // Pixels that are wrong, which other programs show as grey or coloured bars.
  std::string damaged = file_named("restarts.jpg");
  damaged.replace(damaged.find("\xff\xd1") + 1, 1, "\xd5");
  expect_refused(damaged, "does not decode: Corrupt JPEG data");
  file.replace(file.find("\xff\xda") + 40, 2, "\xff\xd9");
  expect_refused(file,
                 "does not decode: Corrupt JPEG data: premature end of data segment; save it again as a PNG");
}

TEST(ImageFormat, AJpegOfEndlessScansIsRefused) {
  const std::string file = file_named("444_progressive.jpg");
  const std::size_t second = file.find("\xff\xda", file.find("\xff\xda") + 1);
  const std::size_t third = file.find("\xff\xda", second + 1);
  std::string scans;
  for (int i = 0; i < 600; ++i) scans += file.substr(second, third - second);
  expect_refused(file.substr(0, second) + scans + file.substr(third), "too many scans");
}

TEST(ImageFormat, PngsWithBadChunksAreRefused) {
  std::string file = file_named("rgb_8.png");
  std::string damaged = file;
  damaged[file.find("IDAT") + 8] ^= 1;
  expect_refused(damaged, "does not decode");
  std::string unnamed = file_named("palette_8.png");
  const std::size_t palette = unnamed.find("PLTE") - 4;
  unnamed.erase(palette, 12 + 300);
  expect_refused(unnamed, "PLTE");
  expect_refused(file.substr(0, file.size() - 12), "the file is truncated");
}

TEST(ImageFormat, MalformedExifLeavesAnImageAsItIs) {
  const std::string entry = "\x12\1\3\0\1\0\0\0\6\0\0\0"s;
  const std::string good = "II*\0\x08\0\0\0\1\0"s + entry;
  const auto orientation = [](const std::string& exif) {
    const std::vector<std::byte> exact(as_byte_span(exif).begin(), as_byte_span(exif).end());
    return exif_orientation(exact);
  };
  EXPECT_EQ(orientation(good), 6);
  EXPECT_EQ(orientation("Exif\0\0"s + good), 6);
  EXPECT_EQ(orientation("MM\0*\0\0\0\x0a..\0\1\1\x12\0\3\0\0\0\1\0\x08\0\0"s), 8);
  for (std::size_t length = 0; length + 3 < good.size(); ++length)
    EXPECT_EQ(orientation(good.substr(0, length)), 1) << length;
  EXPECT_EQ(orientation("II*\0\xff\xff\xff\xff\1\0"s + entry), 1);  // a directory beyond the block
  EXPECT_EQ(orientation("II*\0\x08\0\0\0\xff\xff"s + entry), 6);    // more entries than there are
  EXPECT_EQ(orientation("II*\0\x08\0\0\0\xff\xff"s + "\x11" + entry.substr(1)), 1);
  EXPECT_EQ(orientation("II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0"s), 1);  // text
  EXPECT_EQ(orientation("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0"s), 1);
  EXPECT_EQ(orientation("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\0\0\0\0"s), 1);
  EXPECT_EQ(orientation("IM*\0\x08\0\0\0\1\0"s + entry), 1);
}

}  // namespace
}  // namespace wan
