#include "media/load_image.h"

#include <new>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "media/image_decode.h"
#include "media/image_orientation.h"

namespace wan {

void check_image_size(std::uint64_t width, std::uint64_t height, std::string_view name,
                      const ImageLimits& limits) {
  WAN_CHECK(width > 0 && height > 0, kBadFile, "[image] {}: expected pixels, got a size of {}x{}; {}", name,
            width, height, kSaveAgain);
  const auto side = static_cast<std::uint64_t>(limits.max_side);
  const auto pixels = static_cast<std::uint64_t>(limits.max_pixels);
  WAN_CHECK(width <= side && height <= side && width * height <= pixels, kBadFile,
            "[image] {}: {}x{} is beyond the limits of {} pixels and {} a side; make it smaller", name, width,
            height, limits.max_pixels, limits.max_side);
}

namespace {

/// A name for a file that is an image in a format that is not read; empty for anything else.
std::string_view other_format(std::string_view text) {
  using std::string_view_literals::operator""sv;
  struct Magic {
    std::size_t at;
    std::string_view bytes;
    std::string_view format;
  };
  static constexpr Magic kMagics[] = {
      {0, "GIF87a"sv, "GIF"},
      {0, "GIF89a"sv, "GIF"},
      {0, "BM"sv, "BMP"},
      {0, "II*\0"sv, "TIFF"},
      {0, "MM\0*"sv, "TIFF"},
      {0, "II+\0"sv, "TIFF"},
      {0, "MM\0+"sv, "TIFF"},
      {4, "ftypavif"sv, "AVIF"},
      {4, "ftypavis"sv, "AVIF"},
      {4, "ftyphei"sv, "HEIC"},
      {4, "ftyphev"sv, "HEIC"},
      {4, "ftypmif1"sv, "HEIC or AVIF"},
      {4, "ftypmsf1"sv, "HEIC or AVIF"},
      {0, "\xff\x0a"sv, "JPEG XL"},
      {4, "JXL \r\n\x87\n"sv, "JPEG XL"},
      {4, "jP  \r\n\x87\n"sv, "JPEG 2000"},
      {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
      {0, "8BPS"sv, "Photoshop"},
  };
  for (const Magic& magic : kMagics)
    if (text.size() >= magic.at && text.substr(magic.at).starts_with(magic.bytes)) return magic.format;
  return {};
}

DecodedImage decode(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  WAN_CHECK(!text.empty(), kBadFile, "[image] {} is empty; give a JPEG, PNG or WebP image", name);
  if (text.starts_with("\xff\xd8\xff")) return decode_jpeg(file, name, limits);
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(file, name, limits);
  if (text.starts_with("RIFF") && text.size() >= 12 && text.substr(8, 4) == "WEBP")
    return decode_webp(file, name, limits);
  const std::string_view format = other_format(text);
  WAN_CHECK(format.empty(), kBadFile,
            "[image] {} is a {} file; JPEG, PNG and WebP are read: convert it to PNG", name, format);
  fail(ErrorCode::kBadFile, "[image] {} is not an image that is read: give a JPEG, PNG or WebP file", name);
}

}  // namespace

Image decode_image(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  try {
    DecodedImage decoded = decode(file, name, limits);
    return make_upright(std::move(decoded.image), decoded.orientation);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "[image] {}: not enough memory for its pixels; make it smaller", name);
  }
}

Image load_image(const std::filesystem::path& path, const ImageLimits& limits) {
  const MappedFile file(path);
  Image image = decode_image(file.bytes(), path.string(), limits);
  file.check_whole();
  return image;
}

}  // namespace wan
