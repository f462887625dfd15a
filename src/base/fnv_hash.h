#pragma once
// FNV-1a: tells apart what should be equal; no protection against someone who wants two things to have one hash.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace wan {

class FnvHash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) value_ = (value_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

inline std::uint64_t fnv_hash(std::span<const std::byte> bytes) {
  FnvHash hash;
  hash.add(bytes);
  return hash.value();
}

}  // namespace wan
