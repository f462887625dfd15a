#pragma once
// PNG files read back with libpng.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace wan::test {

struct DecodedPng {
  int width = 0;
  int height = 0;
  bool srgb = false;
  std::vector<std::uint8_t> rgb;  // [H, W, 3]; empty when the file could not be read
  std::vector<std::pair<std::string, std::string>> texts;
  bool all_texts_are_utf8 = true;  // every one an iTXt chunk
};

/// Expects 8-bit RGB; a test failure and an empty image otherwise.
DecodedPng read_png(const std::filesystem::path& path);

}  // namespace wan::test
