#include "text/unicode.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>

#include "base/error.h"

namespace wan {
namespace {

std::u32string normalize(const icu::Normalizer2* (*get)(UErrorCode&), std::u32string_view text) {
  if (text.empty()) return {};
  WAN_CHECK(text.size() < INT32_MAX / 2, kInvalidArgument,
            "[text] expected fewer than 2^30 characters, got {}; shorten the prompt", text.size());
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = get(status);
  if (U_FAILURE(status))
    fail(ErrorCode::kInternal, "[text] ICU's normaliser is missing: {}", u_errorName(status));
  const auto source = icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()),
                                                    static_cast<std::int32_t>(text.size()));
  const icu::UnicodeString result = normalizer->normalize(source, status);
  if (U_FAILURE(status)) fail(ErrorCode::kInternal, "[text] ICU cannot normalise: {}", u_errorName(status));
  std::u32string out(static_cast<std::size_t>(result.countChar32()), U'\0');
  result.toUTF32(reinterpret_cast<UChar32*>(out.data()), static_cast<std::int32_t>(out.size()), status);
  return out;
}

}  // namespace

std::optional<DecodedPoint> decode_utf8_at(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return DecodedPoint{lead, 1};
  int length;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
  } else {
    return std::nullopt;
  }
  if (bytes.size() - at < static_cast<std::size_t>(length)) return std::nullopt;
  char32_t point = lead & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) {
    const unsigned next = byte(at + i);
    if ((next & 0xC0) != 0x80) return std::nullopt;
    point = (point << 6) | (next & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kSmallest[length] || point > kMaxCodePoint || (point >= 0xD800 && point <= 0xDFFF))
    return std::nullopt;
  return DecodedPoint{point, length};
}

std::optional<std::u32string> utf8_to_u32(std::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    const auto decoded = decode_utf8_at(utf8, at);
    if (!decoded) return std::nullopt;
    out.push_back(decoded->point);
    at += decoded->length;
  }
  return out;
}

void append_utf8(std::string& out, char32_t point) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | (point >> 6));
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

std::string u32_to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char32_t point : text) append_utf8(out, point);
  return out;
}

bool is_white_space(char32_t point) {
  return u_hasBinaryProperty(static_cast<UChar32>(point), UCHAR_WHITE_SPACE);
}

bool is_python_space(char32_t point) {
  return (point >= 0x1C && point <= 0x1F) || is_white_space(point);
}

bool is_python_word(char32_t point) {
  const auto c = static_cast<UChar32>(point);
  return point == U'_' || (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0 ||
         u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool is_rust_word(char32_t point) {
  const auto c = static_cast<UChar32>(point);
  return (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

bool is_decimal_digit(char32_t point) {
  return u_charType(static_cast<UChar32>(point)) == U_DECIMAL_DIGIT_NUMBER;
}

std::u32string to_nfc(std::u32string_view text) {
  return normalize([](UErrorCode& status) { return icu::Normalizer2::getNFCInstance(status); }, text);
}
std::u32string to_nfd(std::u32string_view text) {
  return normalize([](UErrorCode& status) { return icu::Normalizer2::getNFDInstance(status); }, text);
}
std::u32string to_nfkc(std::u32string_view text) {
  return normalize([](UErrorCode& status) { return icu::Normalizer2::getNFKCInstance(status); }, text);
}
std::u32string to_nfkd(std::u32string_view text) {
  return normalize([](UErrorCode& status) { return icu::Normalizer2::getNFKDInstance(status); }, text);
}

}  // namespace wan
