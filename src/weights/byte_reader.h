#pragma once
// ByteReader: little-endian numbers and runs of bytes out of untrusted memory, each bounds-checked.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wan {

/// What ends the message about a file with parts missing or wrong.
inline constexpr const char* kDamaged = "the file is truncated or damaged; download it again";

class ByteReader {
 public:
  /// `where` begins every message ("FILE: zip directory"); it must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(std::uint64_t count) {
    WAN_CHECK(count <= remaining(), kBadFile, "[{}] expected {} more bytes at {}, got {}: {}", where_, count,
              position_, remaining(), kDamaged);
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return taken;
  }
  std::string_view text(std::uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// The bytes before the next '\n', which is consumed.
  std::string_view line() {
    std::size_t length = 0;
    while (length < remaining() && bytes_[position_ + length] != std::byte{'\n'}) ++length;
    const std::string_view found = text(length);
    take(1);
    return found;
  }
  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }

 private:
  template <typename T>
  T number() {
    T value = 0;
    const auto taken = take(sizeof(T));
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(taken[i]) << (8 * i)));
    return value;
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t position_ = 0;
};

}  // namespace wan
