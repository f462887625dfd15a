#include "cleaning/mojibake_rules.h"

#include <array>
#include <vector>

#include "cleaning/mojibake_classes.h"

namespace wan {
namespace {

using namespace CharClass;

// One position of a rule: any character of these categories, or one of these.
struct Slot {
  CharClassMask classes = 0;
  std::u32string_view also = {};
};

enum class Anchor { kAnywhere, kStart };

struct Rule {
  std::array<Slot, 7> slots;
  Anchor anchor = Anchor::kAnywhere;
};

constexpr bool empty(const Slot& slot) {
  return slot.classes == 0 && slot.also.empty();
}

constexpr CharClassMask kAccented = kLowerAccented | kUpperAccented;
constexpr CharClassMask kPunctuation = kStartPunctuation | kEndPunctuation;
constexpr CharClassMask kSuspicious = kC1 | kBad | kPunctuation | kCurrency;
constexpr CharClassMask kNeighbourOfBad = kAccented | kBox | kPunctuation | kCurrency | kNumeric | kLaw;
constexpr Slot kArabicLead{0, U"\u00D8\u00D9"};
constexpr Slot kArabicTail{kCommon | kCurrency | kBad | kNumeric | kStartPunctuation,
                           U"\u0178\u0160\u00AE\u00B0\u00B5\u00BB"};
constexpr std::u32string_view kATildeOrCircumflex = U"\u00C3\u00C2";
constexpr std::u32string_view kCyrillicLeads = U"\u0412\u0413\u0420\u0421";
constexpr std::u32string_view kGreekLeads = U"\u0392\u0393\u039E\u039F";

// Any match of any rule makes the text suspicious; sequences that are rare in every language, whatever
// encodings were mixed up, come first. Two of ftfy's alternatives are left out, as others imply them: A with tilde
// before a no-break space or an inverted exclamation mark, and a with macron before a euro sign.
constexpr Rule kRules[] = {
    {{{{kC1}}}},
    {{{{kBad | kNeighbourOfBad}, {kBad}}}},
    {{{{kAsciiLetter}, {kLowerCommon | kUpperCommon}, {kBad}}}},
    {{{{kBad}, {kNeighbourOfBad}}}},
    {{{{kLowerAccented | kLowerCommon | kBox | kEndPunctuation | kCurrency | kNumeric}, {kUpperAccented}}}},
    {{{{kBox | kEndPunctuation | kCurrency | kNumeric}, {kLowerAccented}}}},
    {{{{kLowerAccented | kBox | kEndPunctuation}, {kCurrency}}}},
    {{{{kSpace}, {kUpperAccented}, {kCurrency}}}},
    {{{{kUpperAccented | kBox}, {kNumeric | kLaw}}}},
    {{{{kAccented | kBox | kCurrency | kEndPunctuation}, {kStartPunctuation}, {kNumeric}}}},
    {{{{kAccented | kCurrency | kNumeric | kBox | kLaw}, {kEndPunctuation}, {kStartPunctuation}}}},
    {{{{kCurrency | kNumeric | kBox}, {kStartPunctuation}}}},
    {{{{kAsciiLower}, {kUpperAccented}, {kStartPunctuation | kCurrency}}}},
    {{{{kBox}, {kKaomoji}}}},
    {{{{kAccented | kCurrency | kNumeric | kPunctuation | kLaw}, {kBox}}}},
    {{{{kBox}, {kEndPunctuation}}}},
    {{{{kAccented}, {kPunctuation}, {kWord}}}},
    // The ligature oe where no plain Latin letter follows.
    {{{{0, U"\u0152\u0153"}, {kNotAsciiLetter}}}},
    // A degree sign after a capital.
    {{{{kUpperAccented}, {0, U"\u00B0"}}}},
    // Windows-1252: two-byte sequences, the multiplication sign, Arabic, South Asian scripts.
    {{{{0, U"\u00C2\u00C3\u00CE\u00D0"},
       {kPunctuation,
        U"\u20AC\u0153\u0160\u0161\u00A2\u00A3\u0178\u017E\u00A0\u00AD\u00AE\u00A9\u00B0\u00B7"
        U"\u00BB\u2013\u2014\u00B4"}}}},
    {{{{0, U"\u00D7"}, {0, U"\u00B2\u00B3"}}}},
    {{{kArabicLead, kArabicTail, kArabicLead, kArabicTail}}},
    {{{{0, U"\u00E0"}, {0, U"\u00B2\u00B5\u00B9\u00BC\u00BD\u00BE"}}}},
    // MacRoman.
    {{{{0, U"\u221A"}, {0, U"\u00B1\u2202\u2020\u2260\u00AE\u2122\u00B4\u2264\u2265\u00A5\u00B5\u00F8"}}}},
    {{{{0, U"\u2248"}, {0, U"\u00B0\u00A2"}}}},
    {{{{0, U"\u201A"},
       {0, U"\u00C4"},
       {0, U"\u00EC\u00EE\u00EF\u00F2\u00F4\u00FA\u00F9\u00FB\u2020\u00B0\u00A2\u03C0"}}}},
    {{{{0, U"\u201A"}, {0, U"\u00E2\u00F3"}, {0, U"\u00E0\u00E4\u00B0\u00EA"}}}},
    // Windows-1251: general punctuation; Latin-1 and Cyrillic, in three characters as two would be too
    // common; Windows-1251 over Latin-1 over Windows-1252.
    {{{{0, U"\u0432"}, {0, U"\u0402"}}}},
    {{{{0, kCyrillicLeads}, {kSuspicious, U"\u00B0\u00B5"}, {0, kCyrillicLeads}}}},
    {{{{0, U"\u0413"},
       {0, U"\u045E"},
       {0, U"\u0412"},
       {0, U"\u0402"},
       {0, U"\u0412"},
       {kNotNewline},
       {kAsciiLetter, U" "}}}},
    // Windows-1252 forms of a with grave, and of the no-break space.
    {{{{kAsciiLower}, {0, kATildeOrCircumflex}, {0, U" "}}}},
    {{{{kAsciiLower}, {kSpace}, {0, kATildeOrCircumflex}, {0, U" "}}}},
    {{{{0, kATildeOrCircumflex}, {0, U" "}}}, Anchor::kStart},
    {{{{kAsciiLower | kEndPunctuation, U".,?!"}, {0, U"\u00C2"}, {kPunctuation, U" "}}}},
    // Windows-1253: general punctuation; Latin-1 and Greek.
    {{{{0, U"\u03B2"}, {0, U"\u20AC"}, {0, U"\u2122\u00A0\u0386\u00AD\u00AE\u00B0"}}}},
    {{{{0, kGreekLeads}, {kSuspicious, U"\u00B0"}, {0, kGreekLeads}}}},
};

bool fits(const Slot& slot, char32_t point, CharClassMask classes) {
  return (slot.classes & classes) != 0 || slot.also.find(point) != slot.also.npos;
}

bool matches_at(const Rule& rule, std::u32string_view text, const std::vector<CharClassMask>& classes,
                std::size_t at) {
  if (rule.anchor == Anchor::kStart && at != 0) return false;
  for (const Slot& slot : rule.slots) {
    if (empty(slot)) break;
    if (at == text.size() || !fits(slot, text[at], classes[at])) return false;
    ++at;
  }
  return true;
}

// The length of the UTF-8-like sequence at text[at], 0 if there is none.
std::size_t sequence_length(std::u32string_view text, std::size_t at) {
  const CharClassMask lead = char_classes(text[at]);
  const auto followed_by = [&](std::size_t count) {
    for (std::size_t i = 1; i <= count; ++i)
      if (at + i >= text.size() || !(char_classes(text[at + i]) & kUtf8Continuation)) return false;
    return true;
  };
  if ((lead & kUtf8FirstOf2) && followed_by(1)) return 2;
  if ((lead & kUtf8FirstOf3) && followed_by(2)) return 3;
  if ((lead & kUtf8FirstOf4) && followed_by(3)) return 4;
  return 0;
}

}  // namespace

bool looks_like_mojibake(std::u32string_view text) {
  std::vector<CharClassMask> classes(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) classes[i] = char_classes(text[i]);
  for (std::size_t at = 0; at < text.size(); ++at)
    for (const Rule& rule : kRules)
      if (matches_at(rule, text, classes, at)) return true;
  return false;
}

std::size_t utf8_like_run_end(std::u32string_view text, std::size_t at) {
  if (at > 0 && (char_classes(text[at - 1]) & kUtf8ContinuationStrict)) return at;
  std::size_t end = at;
  while (end < text.size()) {
    const std::size_t length = sequence_length(text, end);
    if (length == 0) break;
    end += length;
  }
  return end;
}

}  // namespace wan
