#pragma once
// A whole file as bytes.

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace wan::test {

/// Empty where the file cannot be opened.
inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream content;
  content << stream.rdbuf();
  return content.str();
}

}  // namespace wan::test
