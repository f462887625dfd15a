#include "cleaning/utf8_repair.h"

#include <algorithm>
#include <array>
#include <span>

#include "text/unicode.h"

namespace wan {
namespace {

// A set of bytes as up to six inclusive ranges; unused ranges are empty.
struct ByteRange {
  unsigned char first = 1;
  unsigned char last = 0;
};
struct ByteSet {
  std::array<ByteRange, 6> ranges{};
  constexpr bool has(char byte) const {
    const auto value = static_cast<unsigned char>(byte);
    for (const ByteRange& range : ranges)
      if (value >= range.first && value <= range.last) return true;
    return false;
  }
};

// A sequence of up to six byte sets; an unused set ends it.
struct BytePattern {
  std::array<ByteSet, 6> sets{};
};

constexpr ByteSet bytes_of(unsigned char only) {
  return {{{{only, only}}}};
}
constexpr ByteSet range_of(unsigned char first, unsigned char last) {
  return {{{{first, last}}}};
}

constexpr ByteSet kSpaceByte = bytes_of(' ');
constexpr ByteSet kContinuation = range_of(0x80, 0xBF);
constexpr ByteSet kContinuationNotA0{{{{0x80, 0x84}, {0x86, 0x9F}, {0xA1, 0xBF}}}};  // nor 0x85
constexpr ByteSet kLost = bytes_of(0x1A);
constexpr ByteSet kLostOrMark{{{{0x1A, 0x1A}, {'?', '?'}}}};
constexpr ByteSet kLostOrContinuation{{{{0x1A, 0x1A}, {0x80, 0xBF}}}};
constexpr ByteSet kLostOrMarkOrContinuation{{{{0x1A, 0x1A}, {'?', '?'}, {0x80, 0xBF}}}};
constexpr ByteSet kSurrogateLead = bytes_of(0xED);
constexpr ByteSet kHighSurrogate = range_of(0xA0, 0xAF);
constexpr ByteSet kLowSurrogate = range_of(0xB0, 0xBF);
constexpr ByteSet kLeadOf2 = range_of(0xC2, 0xDF);
constexpr ByteSet kLeadOf3 = range_of(0xE0, 0xEF);
constexpr ByteSet kLeadOf4 = range_of(0xF0, 0xF4);

// Where 0xA0 gives likely characters: of two bytes the leads of no-break space, a-grave, S-caron, Pi, Er and
// Arabic zero; of three the scripts below CJK; of four only 0xF0, where emoji are.
constexpr BytePattern kAlteredUtf8[] = {
    {{{ByteSet{{{{0xC2, 0xC3}, {0xC5, 0xC5}, {0xCE, 0xCE}, {0xD0, 0xD0}, {0xD9, 0xD9}}}}, kSpaceByte}}},
    {{{range_of(0xE2, 0xE3), kSpaceByte, kContinuationNotA0}}},
    {{{range_of(0xE0, 0xE3), kContinuationNotA0, kSpaceByte}}},
    {{{bytes_of(0xF0), kSpaceByte, kContinuation, kContinuation}}},
    {{{bytes_of(0xF0), kContinuation, kSpaceByte, kContinuation}}},
    {{{bytes_of(0xF0), kContinuation, kContinuation, kSpaceByte}}},
};

// Sequences with lost bytes; a '?' may stand for one of them.
constexpr BytePattern kLossyUtf8[] = {
    {{{kLeadOf2, kLost}}},
    {{{range_of(0xC2, 0xC3), bytes_of('?')}}},
    {{{kSurrogateLead, kHighSurrogate, kLostOrMark, kSurrogateLead, kLowSurrogate,
       kLostOrMarkOrContinuation}}},
    {{{kSurrogateLead, kHighSurrogate, kLostOrMarkOrContinuation, kSurrogateLead, kLowSurrogate,
       kLostOrMark}}},
    {{{kLeadOf3, kLostOrMark, kLostOrContinuation}}},
    {{{kLeadOf3, kLostOrContinuation, kLostOrMark}}},
    {{{kLeadOf4, kLostOrMark, kLostOrContinuation, kLostOrContinuation}}},
    {{{kLeadOf4, kLostOrContinuation, kLostOrMark, kLostOrContinuation}}},
    {{{kLeadOf4, kLostOrContinuation, kLostOrContinuation, kLostOrMark}}},
    {{{kLost}}},
};

constexpr bool is_unused(const ByteSet& set) {
  return set.ranges[0].first > set.ranges[0].last;
}

std::size_t match_length(const BytePattern& pattern, std::string_view bytes, std::size_t at) {
  std::size_t length = 0;
  for (const ByteSet& set : pattern.sets) {
    if (is_unused(set)) break;
    if (at + length == bytes.size() || !set.has(bytes[at + length])) return 0;
    ++length;
  }
  return length;
}

// The length of the first pattern that matches at `at`, or 0.
std::size_t first_match(std::span<const BytePattern> patterns, std::string_view bytes, std::size_t at) {
  for (const BytePattern& pattern : patterns)
    if (const std::size_t length = match_length(pattern, bytes, at)) return length;
  return 0;
}

// "\xC3 " as a word of its own is almost always a-grave; not before the rest of Portuguese contractions, nor
// before a second space.
std::string restore_a_grave_words(std::string_view bytes) {
  constexpr std::string_view kNotBefore[] = {" ", "quele", "quela", "quilo", "s "};
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    out.push_back(bytes[at]);
    if (bytes[at] != '\xC3' || at + 1 == bytes.size() || bytes[at + 1] != ' ') continue;
    const std::string_view rest = bytes.substr(at + 2);
    if (std::any_of(std::begin(kNotBefore), std::end(kNotBefore),
                    [&](std::string_view word) { return rest.starts_with(word); }))
      continue;
    out += "\xA0 ";
    ++at;
  }
  return out;
}

bool is_continuation(char byte) {
  return kContinuation.has(byte);
}

// A CESU-8 pair, six bytes, at bytes[at]. ftfy accepts a line feed that ends the text in place of the last
// byte.
std::optional<char32_t> surrogate_pair_at(std::string_view bytes, std::size_t at) {
  if (bytes.size() - at < 6) return std::nullopt;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  const bool ends_text = bytes.size() - at == 6 && bytes[at + 5] == '\n';
  if (byte(0) != 0xED || !kHighSurrogate.has(bytes[at + 1]) || !is_continuation(bytes[at + 2]) ||
      byte(3) != 0xED || !kLowSurrogate.has(bytes[at + 4]) || !(is_continuation(bytes[at + 5]) || ends_text))
    return std::nullopt;
  return 0x10000u + ((byte(1) & 0x0Fu) << 16) + ((byte(2) & 0x3Fu) << 10) + ((byte(4) & 0x0Fu) << 6) +
         (byte(5) & 0x3Fu);
}

}  // namespace

bool has_altered_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at)
    if (first_match(kAlteredUtf8, bytes, at) != 0) return true;
  return false;
}

std::string restore_no_break_spaces(std::string_view bytes) {
  std::string out = restore_a_grave_words(bytes);
  for (std::size_t at = 0; at < out.size();) {
    const std::size_t length = first_match(kAlteredUtf8, out, at);
    for (std::size_t i = 0; i < length; ++i)
      if (out[at + i] == ' ') out[at + i] = '\xA0';
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::string replace_lossy_sequences(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    if (const std::size_t length = first_match(kLossyUtf8, bytes, at)) {
      append_utf8(out, kReplacementCharacter);
      at += length;
    } else {
      out.push_back(bytes[at++]);
    }
  }
  return out;
}

std::optional<std::u32string> decode_utf8_variants(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const bool last_pair = bytes.size() - at == 2;
    if (bytes[at] == '\xC0' && bytes.size() - at >= 2 &&
        (bytes[at + 1] == '\x80' || (last_pair && bytes[at + 1] == '\n'))) {
      out.push_back(U'\0');
      at += 2;
    } else if (const auto pair = surrogate_pair_at(bytes, at)) {
      out.push_back(*pair);
      at += 6;
    } else if (const auto decoded = decode_utf8_at(bytes, at)) {
      out.push_back(decoded->point);
      at += decoded->length;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace wan
