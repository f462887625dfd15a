#pragma once
// The ten single-byte encodings that text is most often misread in, after ftfy (sloppy: unassigned bytes
// stand for the code point of the same number, and byte 0x1A for U+FFFD, a character that was lost).

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace wan {

enum class CodecKind { kStrict, kSloppy };

struct SingleByteCodec {
  std::string_view name;
  CodecKind kind;
  char16_t high[128];  // what byte 0x80 + i decodes to
};

/// In the order in which they are to be tried; the first is Latin-1.
std::span<const SingleByteCodec> single_byte_codecs();

/// The bytes that decode to `text`, or nothing if some character has none.
std::optional<std::string> encode_single_byte(const SingleByteCodec& codec, std::u32string_view text);

/// Windows-1252 for the bytes 0x80 to 0x9F (unassigned ones: themselves), as Web browsers read Latin-1.
char32_t windows_1252_for_c1(char32_t c1_control);

}  // namespace wan
