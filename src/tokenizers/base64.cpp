#include "tokenizers/base64.h"

#include <array>
#include <cstdint>

#include "base/error.h"

namespace wan {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What each character stands for; -1 where it is no digit.
constexpr auto kValues = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kDigits.size(); ++i)
    values[static_cast<unsigned char>(kDigits[i])] = static_cast<std::int8_t>(i);
  return values;
}();

}  // namespace

std::string decode_base64(std::string_view text, const std::string& place) {
  WAN_CHECK(text.size() % 4 == 0, kBadFile,
            "[{}] expected base64, a multiple of 4 characters, got {}; replace the file", place, text.size());
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out(text.size() / 4 * 3 - padding, '\0');  // one byte less for each character that is missing
  char* end = out.data();
  std::uint32_t bits = 0;
  int count = 0;
  for (char c : text.substr(0, text.size() - padding)) {
    const int value = kValues[static_cast<unsigned char>(c)];
    WAN_CHECK(value >= 0, kBadFile,
              "[{}] expected base64, got a character that is not in it; replace the file", place);
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      *end++ = static_cast<char>(static_cast<unsigned char>((bits >> count) & 0xFF));
    }
  }
  WAN_CHECK((bits & ((1u << count) - 1)) == 0, kBadFile,
            "[{}] expected base64 that ends in whole bytes, got bits left over; replace the file", place);
  return out;
}

std::string encode_base64(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view three = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < three.size() ? static_cast<unsigned char>(three[k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += k <= three.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace wan
