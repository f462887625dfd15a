#include "base/untrusted_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace wan {

namespace {

constexpr std::size_t kLongest = 160;

bool continues_a_character(char c) {
  return (static_cast<std::uint8_t>(c) & 0xc0u) == 0x80u;
}

/// A code point and the bytes it takes; none, and one byte, where UTF-8 is not well-formed.
struct Character {
  std::optional<std::uint32_t> code;
  std::size_t bytes = 1;
};

Character character_at(std::string_view text, std::size_t i) {
  const auto first = static_cast<std::uint8_t>(text[i]);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || i + length > text.size()) return {};
  std::uint32_t code = first & (0xffu >> (length + 1));
  for (std::size_t k = 1; k < length; ++k) {
    if (!continues_a_character(text[i + k])) return {};
    code = (code << 6) | (static_cast<std::uint8_t>(text[i + k]) & 0x3fu);
  }
  const std::uint32_t smallest = length == 2 ? 0x80u : length == 3 ? 0x800u : 0x10000u;
  if (code < smallest || code > 0x10ffffu || (code >= 0xd800u && code <= 0xdfffu)) return {};
  return {code, length};
}

/// Obeyed by a terminal, or changing the order in which the text around it is read.
bool is_control(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
         (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/// `text` with escape(character, byte) in place of each control character and of each byte that is not UTF-8.
template <typename Escape>
std::string with_controls_escaped(std::string_view text, const Escape& escape) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const Character next = character_at(text, i);
    if (!next.code || is_control(*next.code)) {
      result += escape(next, static_cast<std::uint8_t>(text[i]));
    } else {
      result += text.substr(i, next.bytes);
    }
    i += next.bytes;
  }
  return result;
}

std::string escaped(const Character& character, std::uint8_t byte) {
  if (!character.code) return fmt::format("\\x{:02x}", byte);
  if (character.code == '\n') return "\\n";
  if (character.code == '\r') return "\\r";
  if (character.code == '\t') return "\\t";
  return *character.code < 0x80 ? fmt::format("\\x{:02x}", byte) : fmt::format("\\u{:04x}", *character.code);
}

}  // namespace

std::string shown(std::string_view text) {
  return with_controls_escaped(text, escaped);
}

std::string shown_message(std::string_view text) {
  constexpr std::string_view kGoesOn = "\n  ";
  std::string result;
  while (true) {
    const std::size_t end = text.find(kGoesOn);
    result += shown(text.substr(0, end));
    if (end == std::string_view::npos) return result;
    result += kGoesOn;
    text.remove_prefix(end + kGoesOn.size());
  }
}

std::string shown_json(std::string_view document) {
  return with_controls_escaped(document, [](const Character& character, std::uint8_t byte) {
    // White space between values: inside strings the library has escaped it.
    if (character.code && *character.code < 0x20) return std::string(1, static_cast<char>(byte));
    return fmt::format("\\u{:04x}", character.code.value_or(0xfffd));
  });
}

std::string without_controls(std::string_view text, char with) {
  return with_controls_escaped(text, [&](const Character&, std::uint8_t) { return std::string(1, with); });
}

std::string shortened(std::string_view text) {
  if (text.size() <= kLongest) return shown(text);
  std::size_t head = kLongest / 2;
  while (head > 0 && continues_a_character(text[head])) --head;
  std::size_t tail = text.size() - kLongest / 2;
  while (tail < text.size() && continues_a_character(text[tail])) ++tail;
  return shown(text.substr(0, head)) + "..." + shown(text.substr(tail));
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ... - unexpected ...; last read:
// '...'"
std::string json_reason(std::string_view message) {
  if (message.starts_with('[')) message.remove_prefix(std::min(message.find(']') + 2, message.size()));
  return shortened(message.substr(0, message.find("; last read")));
}

std::string quote_name(std::string_view name) {
  std::string result = "'";
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.size() > kLongest && i == kLongest / 2) {
      result += "...";
      i = name.size() - kLongest / 2;
    }
    const char c = name[i];
    result += c >= 0x20 && c < 0x7f ? c : '?';
  }
  return result + "'";
}

bool is_plain_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const Character next = character_at(text, i);
    if (!next.code || *next.code == 0) return false;
    i += next.bytes;
  }
  return true;
}

}  // namespace wan
