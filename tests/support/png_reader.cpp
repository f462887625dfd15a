#include "support/png_reader.h"

#include <gtest/gtest.h>
#include <png.h>

#include <csetjmp>
#include <cstdio>

namespace wan::test {

namespace {

bool read_all(png_structp png, png_infop info, std::FILE* file) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_init_io(png, file);
  png_read_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  return true;
}

}  // namespace

DecodedPng read_png(const std::filesystem::path& path) {
  DecodedPng result;
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    ADD_FAILURE() << "cannot open " << path;
    return result;
  }
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  if (!read_all(png, info, file) || png_get_color_type(png, info) != PNG_COLOR_TYPE_RGB ||
      png_get_bit_depth(png, info) != 8) {
    ADD_FAILURE() << path << " is not a whole 8-bit RGB PNG";
  } else {
    result.width = static_cast<int>(png_get_image_width(png, info));
    result.height = static_cast<int>(png_get_image_height(png, info));
    int intent = 0;
    result.srgb = png_get_sRGB(png, info, &intent) != 0;
    const png_bytepp rows = png_get_rows(png, info);
    for (int y = 0; y < result.height; ++y)
      result.rgb.insert(result.rgb.end(), rows[y], rows[y] + 3 * result.width);
    png_textp texts = nullptr;
    const int count = png_get_text(png, info, &texts, nullptr);
    for (int i = 0; i < count; ++i) {
      result.texts.emplace_back(texts[i].key, texts[i].text);
      result.all_texts_are_utf8 &= texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    }
  }
  png_destroy_read_struct(&png, &info, nullptr);
  std::fclose(file);
  return result;
}

}  // namespace wan::test
