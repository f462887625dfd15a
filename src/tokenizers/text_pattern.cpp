#include "tokenizers/text_pattern.h"

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <cstdint>
#include <utility>

#include "base/error.h"

namespace wan {
namespace {

// ICU's unit is about a millisecond. A pattern of a real tokenizer needs none; a hostile one is cut off.
constexpr std::int32_t kRegexTimeLimit = 2000;

icu::UnicodeString to_icu(std::u32string_view text) {
  WAN_CHECK(text.size() < INT32_MAX / 2, kInvalidArgument,
            "[tokenizer] expected fewer than 2^30 characters, got {}; shorten the prompt", text.size());
  return icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()),
                                       static_cast<std::int32_t>(text.size()));
}

std::u32string with_all_white_space(std::u32string_view pattern) {
  std::u32string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != U'\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char32_t escaped = pattern[++i];
    if (escaped == U's') {
      out += U"\\p{White_Space}";
    } else if (escaped == U'S') {
      out += U"\\P{White_Space}";
    } else {
      out += U'\\';
      out += escaped;
    }
  }
  return out;
}

}  // namespace

struct TextPattern::Compiled {
  std::unique_ptr<icu::RegexPattern> pattern;
};

TextPattern::TextPattern(std::u32string_view pattern, std::string owner)
    : compiled_(std::make_unique<Compiled>()), owner_(std::move(owner)) {
  UErrorCode status = U_ZERO_ERROR;
  compiled_->pattern.reset(icu::RegexPattern::compile(to_icu(with_all_white_space(pattern)), 0, status));
  WAN_CHECK(U_SUCCESS(status), kBadFile,
            "[tokenizer] expected a regular expression in {}, ICU says {}; replace tokenizer.json", owner_,
            u_errorName(status));
}
TextPattern::~TextPattern() = default;
TextPattern::TextPattern(TextPattern&&) noexcept = default;
TextPattern& TextPattern::operator=(TextPattern&&) noexcept = default;

std::vector<PatternMatch> TextPattern::find_all(std::u32string_view text) const {
  const icu::UnicodeString subject = to_icu(text);
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(compiled_->pattern->matcher(subject, status));
  if (matcher) matcher->setTimeLimit(kRegexTimeLimit, status);
  std::vector<PatternMatch> matches;
  std::int32_t unit = 0;
  std::size_t point = 0;
  // ICU counts UTF-16 units; matches only go forward, so that one pass converts all positions.
  const auto to_point = [&](std::int32_t target) {
    point += static_cast<std::size_t>(subject.countChar32(unit, target - unit));
    unit = target;
    return point;
  };
  while (U_SUCCESS(status) && matcher->find(status)) {
    const std::size_t first = to_point(matcher->start(status));
    matches.push_back({first, to_point(matcher->end(status))});
  }
  WAN_CHECK(U_SUCCESS(status), kUnsupported,
            "[tokenizer] the regular expression of {} fails on this text, ICU says {}; replace "
            "tokenizer.json",
            owner_, u_errorName(status));
  return matches;
}

}  // namespace wan
