#include "media/png_encode.h"

#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <new>

#include "base/error.h"

namespace wan {

namespace {

/// What libpng's callbacks see. libpng reports errors by longjmp, over its own C frames and ours: functions
/// that may be left that way hold no object with a destructor.
struct PngJob {
  std::vector<std::uint8_t>* out;
  char message[160];
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* job = static_cast<PngJob*>(png_get_error_ptr(png));
  std::snprintf(job->message, sizeof job->message, "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_bytes(png_structp png, png_bytep data, std::size_t size) {
  auto* job = static_cast<PngJob*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    job->out->insert(job->out->end(), data, data + size);
  } catch (const std::bad_alloc&) {
    stored = false;
  }
  if (!stored) png_error(png, "out of memory");
}

void on_flush(png_structp) {}

bool write_all(png_structp png, png_infop info, PngJob* job, const std::uint8_t* rgb, int width, int height,
               png_text* texts, int text_count) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_write_fn(png, job, on_bytes, on_flush);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
               PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
  if (text_count > 0) png_set_text(png, info, texts, text_count);
  png_write_info(png, info);
  const std::size_t row_bytes = static_cast<std::size_t>(width) * 3;
  for (int y = 0; y < height; ++y) png_write_row(png, rgb + static_cast<std::size_t>(y) * row_bytes);
  png_write_end(png, nullptr);
  return true;
}

std::vector<png_text> texts_of(const Metadata& metadata) {
  static char no_language[] = "";
  std::vector<png_text> texts;
  for (const auto& [key, value] : metadata) {
    png_text text{};
    text.compression = PNG_ITXT_COMPRESSION_NONE;
    text.key = const_cast<char*>(key.c_str());  // libpng copies it and writes nothing
    text.text = const_cast<char*>(value.c_str());
    text.itxt_length = value.size();
    text.lang = no_language;
    text.lang_key = no_language;
    texts.push_back(text);
  }
  return texts;
}

}  // namespace

std::vector<std::uint8_t> encode_png(const std::uint8_t* rgb, int width, int height,
                                     const Metadata& metadata) {
  WAN_CHECK(width > 0 && height > 0, kInvalidArgument, "[png] expected a positive size, got {}x{}", width,
            height);
  check_metadata(metadata);
  std::vector<std::uint8_t> bytes;
  PngJob job{&bytes, {}};
  std::vector<png_text> texts = texts_of(metadata);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  WAN_CHECK(png != nullptr, kInternal, "[png] libpng does not start: {}", job.message);
  png_infop info = png_create_info_struct(png);
  const bool written = info != nullptr && write_all(png, info, &job, rgb, width, height, texts.data(),
                                                    static_cast<int>(texts.size()));
  png_destroy_write_struct(&png, &info);
  WAN_CHECK(written, kInternal, "[png] cannot encode {}x{}: {}", width, height, job.message);
  return bytes;
}

}  // namespace wan
