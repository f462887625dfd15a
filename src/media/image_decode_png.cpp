#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "media/image_decode.h"
#include "media/image_orientation.h"

namespace wan {

namespace {

/// libpng reports errors by longjmp, over its own C frames and ours: functions that may be left that way hold
/// no object with a destructor. This object owns all that they use.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> file) : rest_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, &info_, nullptr);
      throw std::bad_alloc();
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Reads up to the pixels. False: see message().
  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, on_read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_image_size() says more
    // libpng reads tRNS in any case and eXIf because it is asked to. Other chunks that a picture can do without, such as texts
    // and colour profiles, are not even unpacked.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_AS_DEFAULT, reinterpret_cast<png_const_bytep>("eXIf"),
                                1);
    png_read_info(png_, info_);
    return true;
  }

  /// Takes memory for a row: not before the size is checked. False: see message().
  bool start_pixels() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_expand(png_);  // palettes, 1 to 4 bits, tRNS
    png_set_strip_16(png_);
    png_set_gray_to_rgb(png_);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  /// Decodes into rows of channels() bytes a pixel, and reads the file to its end. False: see message().
  bool read_pixels(std::uint8_t* pixels) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    for (int pass = 0; pass < passes_; ++pass)
      for (std::size_t y = 0; y < height(); ++y) png_read_row(png_, pixels + y * row_bytes(), nullptr);
    png_read_end(png_, info_);
    return true;
  }

  png_uint_32 width() const { return png_get_image_width(png_, info_); }
  png_uint_32 height() const { return png_get_image_height(png_, info_); }
  std::size_t channels() const { return png_get_channels(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  const char* message() const { return message_; }

  int orientation() const {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0 || exif == nullptr) return 1;
    return exif_orientation(std::as_bytes(std::span(exif, size)));
  }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, sizeof reader->message_, "%s", message);
    png_longjmp(png, 1);
  }

  static void on_read(png_structp png, png_bytep out, std::size_t size) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > reader->rest_.size()) png_error(png, "the file is truncated");
    std::memcpy(out, reader->rest_.data(), size);
    reader->rest_ = reader->rest_.subspan(size);
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::span<const std::byte> rest_;
  int passes_ = 1;
  char message_[160] = "";
};

}  // namespace

DecodedImage decode_png(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  PngReader reader(file);
  WAN_CHECK(reader.read_header(), kBadFile, "[image] {}: not a readable PNG file: {}; {}", name,
            reader.message(), kSaveAgain);
  check_image_size(reader.width(), reader.height(), name, limits);
  const auto must_decode = [&](bool decoded) {
    WAN_CHECK(decoded, kBadFile, "[image] {}: the PNG does not decode: {}; {}", name, reader.message(),
              kSaveAgain);
  };
  must_decode(reader.start_pixels());
  const std::size_t pixels = std::size_t{reader.width()} * reader.height();
  const std::size_t channels = reader.channels();
  WAN_ASSERT((channels == 3 || channels == 4) && reader.row_bytes() == channels * reader.width());
  Image image{static_cast<int>(reader.width()), static_cast<int>(reader.height()), {}};
  image.rgb.resize(pixels * channels);
  must_decode(reader.read_pixels(image.rgb.data()));
  if (channels == 4) {
    flatten_over_white(image.rgb.data(), pixels, image.rgb.data());
    image.rgb.resize(pixels * 3);
  }
  return {std::move(image), reader.orientation()};
}

}  // namespace wan
