#pragma once
// What a file's content is known by: SHA-256, and the SHA-1 that git gives a file.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace wan {

/// Takes a content piece by piece, a block of 64 bytes at a time; both sums end it alike.
class BlockHash {
 public:
  virtual ~BlockHash() = default;
  void update(std::span<const std::byte> piece);

 protected:
  static constexpr std::size_t kBlock = 64;
  virtual void take(const std::byte* blocks, std::size_t count) = 0;
  /// Takes the last blocks, which say how long the content was.
  void end();
  /// Lower-case hexadecimal digits of these numbers, their highest byte first.
  static std::string digits(std::span<const std::uint32_t> state);

 private:
  std::array<std::byte, kBlock> rest_{};
  std::size_t rest_bytes_ = 0;
  std::uint64_t bytes_ = 0;
};

class Sha256 final : public BlockHash {
 public:
  /// The processor's own instructions where it has them, or the plain code that they are held to.
  enum class Code { kFastest, kPlain };
  explicit Sha256(Code code = Code::kFastest) : code_(code) {}

  /// 64 digits; nothing may follow.
  std::string finish();

 private:
  void take(const std::byte* blocks, std::size_t count) override;
  void take_plainly(const std::byte* blocks, std::size_t count);
  Code code_;
  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
};

class Sha1 final : public BlockHash {
 public:
  /// 40 digits; nothing may follow.
  std::string finish();

 private:
  void take(const std::byte* blocks, std::size_t count) override;
  std::array<std::uint32_t, 5> state_ = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
};

}  // namespace wan
