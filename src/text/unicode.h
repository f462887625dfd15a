#pragma once
// Text as code points: strict UTF-8 in and out, the whitespace and word predicates of Python and Rust, NFC
// and NFKC. Character properties are ICU's.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wan {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
inline constexpr char32_t kMaxCodePoint = 0x10FFFF;

/// Strict UTF-8 (no surrogates, no overlong forms, at most U+10FFFF) to code points; nothing if it is not.
std::optional<std::u32string> utf8_to_u32(std::string_view utf8);

/// `point` must be a Unicode scalar value.
void append_utf8(std::string& out, char32_t point);
std::string u32_to_utf8(std::u32string_view text);

/// Length in bytes of the strict UTF-8 sequence at bytes[at], and its code point; nothing if it is malformed.
struct DecodedPoint {
  char32_t point;
  int length;
};
std::optional<DecodedPoint> decode_utf8_at(std::string_view bytes, std::size_t at);

/// Unicode's White_Space property: Rust's char::is_whitespace, \s of the Python module regex.
bool is_white_space(char32_t point);
/// Python's str.isspace, str.strip and \s of its module re: White_Space and U+001C to U+001F.
bool is_python_space(char32_t point);
/// Python's str.isalnum or '_': \w of its module re.
bool is_python_word(char32_t point);
/// Rust's regex \w: Alphabetic, marks, decimal digits, connector punctuation, join controls.
bool is_rust_word(char32_t point);
/// General category Nd: \d of Python's module re.
bool is_decimal_digit(char32_t point);

std::u32string to_nfc(std::u32string_view text);
std::u32string to_nfd(std::u32string_view text);
std::u32string to_nfkc(std::u32string_view text);
std::u32string to_nfkd(std::u32string_view text);

}  // namespace wan
