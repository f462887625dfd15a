#pragma once
// The character categories that mojibake (text decoded in the wrong encoding) is recognised by, after ftfy.

#include <cstdint>

namespace wan {

/// A set of categories, one bit each. A character may be in several.
using CharClassMask = std::uint32_t;

namespace CharClass {
enum : CharClassMask {
  // Categories from the table: what the character usually does in honest text.
  kCommon = 1u << 0,  // everywhere, so no evidence by itself
  kC1 = 1u << 1,
  kBad = 1u << 2,  // almost only in mojibake
  kLaw = 1u << 3,
  kCurrency = 1u << 4,
  kStartPunctuation = 1u << 5,
  kEndPunctuation = 1u << 6,
  kNumeric = 1u << 7,
  kKaomoji = 1u << 8,
  kUpperAccented = 1u << 9,
  kLowerAccented = 1u << 10,
  kUpperCommon = 1u << 11,
  kLowerCommon = 1u << 12,
  kBox = 1u << 13,
  // What bytes of a UTF-8 sequence look like in some single-byte encoding.
  kUtf8FirstOf2 = 1u << 14,
  kUtf8FirstOf3 = 1u << 15,
  kUtf8FirstOf4 = 1u << 16,
  kUtf8Continuation = 1u << 17,  // spaces and dashes included
  kUtf8ContinuationStrict = 1u << 18,
  // Computed.
  kAsciiLower = 1u << 19,
  kAsciiLetter = 1u << 20,
  kNotAsciiLetter = 1u << 21,
  kSpace = 1u << 22,
  kWord = 1u << 23,
  kNotNewline = 1u << 24,
};
}  // namespace CharClass

/// Every category of a character.
CharClassMask char_classes(char32_t point);

}  // namespace wan
