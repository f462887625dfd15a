#include "base/untrusted_text.h"

#include <algorithm>
#include <cstdint>

namespace wan {

namespace {

constexpr std::size_t kLongest = 160;

bool continues_a_character(char c) {
  return (static_cast<std::uint8_t>(c) & 0xc0u) == 0x80u;
}

}  // namespace

std::string shortened(std::string_view text) {
  if (text.size() <= kLongest) return std::string(text);
  std::size_t head = kLongest / 2;
  while (head > 0 && continues_a_character(text[head])) --head;
  std::size_t tail = text.size() - kLongest / 2;
  while (tail < text.size() && continues_a_character(text[tail])) ++tail;
  return std::string(text.substr(0, head)) + "..." + std::string(text.substr(tail));
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
    const auto first = static_cast<std::uint8_t>(text[i]);
    if (first == 0) return false;
    if (first < 0x80) {
      ++i;
      continue;
    }
    const int length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || i + static_cast<std::size_t>(length) > text.size()) return false;
    std::uint32_t code = first & (0xffu >> (length + 1));
    for (int k = 1; k < length; ++k) {
      const auto next = static_cast<std::uint8_t>(text[i + static_cast<std::size_t>(k)]);
      if ((next & 0xc0u) != 0x80u) return false;
      code = (code << 6) | (next & 0x3fu);
    }
    const std::uint32_t smallest = length == 2 ? 0x80u : length == 3 ? 0x800u : 0x10000u;
    if (code < smallest || code > 0x10ffffu || (code >= 0xd800u && code <= 0xdfffu)) return false;
    i += static_cast<std::size_t>(length);
  }
  return true;
}

}  // namespace wan
