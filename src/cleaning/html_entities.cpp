#include "cleaning/html_entities.h"

#include <algorithm>
#include <optional>

#include "text/unicode.h"

namespace wan {
namespace {

struct HtmlEntity {
  std::string_view name;
  std::string_view value;  // UTF-8
};

#include "cleaning/tables/html_entities.inc"

constexpr std::size_t kLongestName = 32;       // of html.unescape's pattern, without the semicolon
constexpr std::size_t kLongestPlainName = 24;  // of ftfy's pattern

template <std::size_t N>
std::optional<std::u32string> look_up(const HtmlEntity (&table)[N], std::u32string_view name) {
  std::string key;
  for (char32_t c : name) {
    if (c >= 0x80) return std::nullopt;
    key.push_back(static_cast<char>(c));
  }
  const auto* end = table + N;
  const auto* found = std::lower_bound(table, end, std::string_view(key),
                                       [](const HtmlEntity& e, std::string_view k) { return e.name < k; });
  if (found == end || found->name != key) return std::nullopt;
  return utf8_to_u32(found->value);
}

bool is_ascii_digit(char32_t c) {
  return c >= U'0' && c <= U'9';
}
bool is_ascii_alnum(char32_t c) {
  return is_ascii_digit(c) || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
}

int hex_value(char32_t c) {
  if (is_ascii_digit(c)) return static_cast<int>(c - U'0');
  if (c >= U'a' && c <= U'f') return static_cast<int>(c - U'a') + 10;
  if (c >= U'A' && c <= U'F') return static_cast<int>(c - U'A') + 10;
  return -1;
}

bool is_noncharacter(char32_t c) {
  return (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

// HTML5's table of numeric references: C1 controls stand for Windows-1252, controls and noncharacters for
// nothing, what is no scalar value for U+FFFD.
void append_numeric(std::u32string& out, char32_t number) {
  constexpr char16_t kWindows1252[32] = {0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                         0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D, 0x017D, 0x008F,
                                         0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                         0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};
  if (number >= 0x80 && number <= 0x9F) {
    out.push_back(kWindows1252[number - 0x80]);
  } else if (number == 0 || number > kMaxCodePoint || (number >= 0xD800 && number <= 0xDFFF)) {
    out.push_back(kReplacementCharacter);
  } else if ((number < 0x20 && number != U'\t' && number != U'\n' && number != U'\f' && number != U'\r') ||
             number == 0x7F || is_noncharacter(number)) {
    return;
  } else {
    out.push_back(number);
  }
}

// A numeric reference at text[at] == '&', text[at + 1] == '#': appends its character and returns the position
// after it, or returns `at` when there is none.
std::size_t read_numeric(std::u32string_view text, std::size_t at, std::u32string& out) {
  std::size_t i = at + 2;
  const bool hex = i < text.size() && (text[i] == U'x' || text[i] == U'X');
  if (hex) ++i;
  const std::size_t first = i;
  char32_t number = 0;
  for (; i < text.size(); ++i) {
    const int digit = hex_value(text[i]);
    if (digit < 0 || (!hex && digit > 9)) break;
    number = std::min<char32_t>(number * (hex ? 16 : 10) + static_cast<char32_t>(digit), kMaxCodePoint + 1);
  }
  if (i == first) return at;
  append_numeric(out, number);
  return i < text.size() && text[i] == U';' ? i + 1 : i;
}

// As read_numeric, for a name at text[at] == '&'.
std::size_t read_named(std::u32string_view text, std::size_t at, std::u32string& out) {
  constexpr std::u32string_view kStops = U"\t\n\f <&#;";
  std::size_t end = at + 1;
  while (end < text.size() && end - at - 1 < kLongestName && kStops.find(text[end]) == kStops.npos) ++end;
  if (end == at + 1) return at;
  if (end < text.size() && text[end] == U';') ++end;
  const std::u32string_view name = text.substr(at + 1, end - at - 1);
  if (auto whole = look_up(kHtmlEntities, name)) {
    out += *whole;
    return end;
  }
  for (std::size_t length = name.size() - 1; length > 1; --length) {
    if (auto prefix = look_up(kHtmlEntities, name.substr(0, length))) {
      out += *prefix;
      out += name.substr(length);
      return end;
    }
  }
  out += text.substr(at, end - at);
  return end;
}

}  // namespace

std::u32string html_unescape(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    std::size_t next = at;
    if (text[at] == U'&') {
      const bool numeric = at + 1 < text.size() && text[at + 1] == U'#';
      next = numeric ? read_numeric(text, at, out) : read_named(text, at, out);
    }
    if (next == at) {
      out.push_back(text[at]);
      next = at + 1;
    }
    at = next;
  }
  return out;
}

std::u32string unescape_plain_entities(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != U'&') {
      out.push_back(text[at++]);
      continue;
    }
    const bool numeric = at + 1 < text.size() && text[at + 1] == U'#';
    const std::size_t first = at + (numeric ? 2 : 1);
    std::size_t end = first;
    while (end < text.size() && is_ascii_alnum(text[end])) ++end;
    if (end == first || end - first > kLongestPlainName || end == text.size() || text[end] != U';') {
      out.push_back(text[at++]);
      continue;
    }
    const std::u32string_view whole = text.substr(at, end + 1 - at);
    if (numeric) {
      // A part that was decoded alone (&#12ab;) leaves its semicolon behind, and then stands as it was.
      const std::u32string decoded = html_unescape(whole);
      out += decoded.find(U';') == decoded.npos ? std::u32string_view(decoded) : whole;
    } else {
      const std::u32string_view name = whole.substr(1);
      auto value = look_up(kHtmlEntities, name);
      if (!value) value = look_up(kUpperCaseEntities, name);
      out += value ? std::u32string_view(*value) : whole;
    }
    at = end + 1;
  }
  return out;
}

}  // namespace wan
