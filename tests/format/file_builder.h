#pragma once
// Builds checkpoint files byte by byte, well-formed or not, for the readers' tests.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wan {

inline std::span<const std::byte> as_byte_span(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

/// The 8-byte length, the header, the data.
inline std::string safetensors_file(const std::string& header, const std::string& data) {
  return little_endian(header.size(), 8) + header + data;
}

/// Code and message of what `function` throws; the code is empty when it throws nothing.
struct Thrown {
  std::string code;
  std::string message;
};

template <typename Function>
Thrown thrown_by(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return {error_code_name(error.code()), error.what()};
  }
  return {};
}

/// A zip archive of stored entries whose fields a test can spoil.
class ZipBuilder {
 public:
  struct Entry {
    std::string name;
    std::string data;
    std::uint16_t flags = 0;
    std::uint16_t method = 0;
    std::string local_name{};     // when not empty: another name in the local header
    std::int64_t size_lie = 0;    // added to both sizes in the central directory
    std::int64_t packed_lie = 0;  // added to the packed size alone
    std::int64_t offset_lie = 0;  // added to the local header's offset
  };
  std::vector<Entry> entries;
  bool zip64 = false;  // sizes and offsets in zip64 fields, zip64 end records
  std::int64_t directory_offset_lie = 0;
  std::int64_t entry_count_lie = 0;
  std::string comment;

  std::string build() const {
    std::string file;
    std::string directory;
    for (const Entry& entry : entries) {
      const auto offset =
          static_cast<std::uint64_t>(static_cast<std::int64_t>(file.size()) + entry.offset_lie);
      const std::string& local_name = entry.local_name.empty() ? entry.name : entry.local_name;
      file += little_endian(0x04034b50, 4) + little_endian(45, 2) + little_endian(entry.flags, 2) +
              little_endian(entry.method, 2) + std::string(8, '\0') + little_endian(entry.data.size(), 4) +
              little_endian(entry.data.size(), 4) + little_endian(local_name.size(), 2) +
              little_endian(4, 2) + local_name + std::string("FB\0\0", 4) + entry.data;
      const auto size =
          static_cast<std::uint64_t>(static_cast<std::int64_t>(entry.data.size()) + entry.size_lie);
      const auto packed = static_cast<std::uint64_t>(static_cast<std::int64_t>(size) + entry.packed_lie);
      const std::string extra = zip64 ? little_endian(1, 2) + little_endian(24, 2) + little_endian(size, 8) +
                                            little_endian(packed, 8) + little_endian(offset, 8)
                                      : "";
      const std::uint64_t in_zip64 = 0xffffffff;
      directory += little_endian(0x02014b50, 4) + std::string(4, '\0') + little_endian(entry.flags, 2) +
                   little_endian(entry.method, 2) + std::string(8, '\0') +
                   little_endian(zip64 ? in_zip64 : packed, 4) + little_endian(zip64 ? in_zip64 : size, 4) +
                   little_endian(entry.name.size(), 2) + little_endian(extra.size(), 2) +
                   std::string(10, '\0') + little_endian(zip64 ? in_zip64 : offset, 4) + entry.name + extra;
    }
    const auto directory_offset =
        static_cast<std::uint64_t>(static_cast<std::int64_t>(file.size()) + directory_offset_lie);
    const auto count =
        static_cast<std::uint64_t>(static_cast<std::int64_t>(entries.size()) + entry_count_lie);
    file += directory;
    if (zip64) {
      const std::uint64_t record = file.size();
      file += little_endian(0x06064b50, 4) + little_endian(44, 8) + std::string(4, '\0') +
              std::string(8, '\0') + little_endian(count, 8) + little_endian(count, 8) +
              little_endian(directory.size(), 8) + little_endian(directory_offset, 8);
      file +=
          little_endian(0x07064b50, 4) + little_endian(0, 4) + little_endian(record, 8) + little_endian(1, 4);
    }
    file +=
        little_endian(0x06054b50, 4) + std::string(4, '\0') + little_endian(zip64 ? 0xffff : count, 2) +
        little_endian(zip64 ? 0xffff : count, 2) + little_endian(zip64 ? 0xffffffff : directory.size(), 4) +
        little_endian(zip64 ? 0xffffffff : directory_offset, 4) + little_endian(comment.size(), 2) + comment;
    return file;
  }
};

inline std::filesystem::path write_test_file(const std::filesystem::path& file, const std::string& content) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

}  // namespace wan
