// Normalisers that replace the matches of a string or of a regular expression.

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <utility>

#include "base/error.h"
#include "tokenizers/normalizers.h"

namespace wan {
namespace {

// ICU's unit is about a millisecond. A pattern of a real tokenizer needs none; a hostile one is cut off.
constexpr std::int32_t kRegexTimeLimit = 2000;

struct Match {
  std::size_t first;
  std::size_t last;  // one past its end
};

// Inserted characters have the origin of the last one replaced.
void replace_matches(AlignedText& text, const std::vector<Match>& matches, std::u32string_view content) {
  if (matches.empty()) return;
  AlignedText out;
  out.start = text.start;
  std::size_t done = 0;
  const auto copy_until = [&](std::size_t end) {
    out.text.append(text.text, done, end - done);
    out.origin.insert(out.origin.end(), text.origin.begin() + static_cast<std::ptrdiff_t>(done),
                      text.origin.begin() + static_cast<std::ptrdiff_t>(end));
  };
  for (const Match& match : matches) {
    copy_until(match.first);
    out.text += content;
    out.origin.resize(out.text.size(), text.origin[match.last - 1]);
    done = match.last;
  }
  copy_until(text.text.size());
  text = std::move(out);
}

class ReplaceStringNormalizer final : public TextNormalizer {
 public:
  ReplaceStringNormalizer(std::u32string pattern, std::u32string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void normalize(AlignedText& text) const override {
    std::vector<Match> matches;
    for (std::size_t at = text.text.find(pattern_); at != text.text.npos;
         at = text.text.find(pattern_, at + pattern_.size()))
      matches.push_back({at, at + pattern_.size()});
    replace_matches(text, matches, content_);
  }

 private:
  std::u32string pattern_;
  std::u32string content_;
};

icu::UnicodeString to_icu(std::u32string_view text) {
  WAN_CHECK(text.size() < INT32_MAX / 2, kInvalidArgument,
            "[tokenizer] expected fewer than 2^30 characters, got {}; shorten the prompt", text.size());
  return icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()),
                                       static_cast<std::int32_t>(text.size()));
}

class ReplaceRegexNormalizer final : public TextNormalizer {
 public:
  ReplaceRegexNormalizer(std::u32string_view pattern, std::u32string content) : content_(std::move(content)) {
    UErrorCode status = U_ZERO_ERROR;
    pattern_.reset(icu::RegexPattern::compile(to_icu(pattern), 0, status));
    WAN_CHECK(U_SUCCESS(status), kBadFile,
              "[tokenizer] expected a regular expression in Replace, ICU says {}; replace tokenizer.json",
              u_errorName(status));
    WAN_CHECK(find_matches(U"").empty(), kUnsupported,
              "[tokenizer] expected a Replace pattern that matches some character, it matches \"\"; replace "
              "tokenizer.json");
  }

  void normalize(AlignedText& text) const override {
    std::vector<Match> matches = find_matches(text.text);
    std::erase_if(matches, [](const Match& match) { return match.first == match.last; });
    replace_matches(text, matches, content_);
  }

 private:
  std::vector<Match> find_matches(std::u32string_view text) const {
    const icu::UnicodeString subject = to_icu(text);
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<icu::RegexMatcher> matcher(pattern_->matcher(subject, status));
    if (matcher) matcher->setTimeLimit(kRegexTimeLimit, status);
    std::vector<Match> matches;
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
              "[tokenizer] the regular expression of a Replace fails on this text, ICU says {}; replace "
              "tokenizer.json",
              u_errorName(status));
    return matches;
  }

  std::unique_ptr<icu::RegexPattern> pattern_;
  std::u32string content_;
};

}  // namespace

TextNormalizerPtr make_replace_string_normalizer(std::u32string pattern, std::u32string content) {
  WAN_CHECK(!pattern.empty(), kUnsupported,
            "[tokenizer] expected a Replace pattern of some characters, got \"\"; replace tokenizer.json");
  return std::make_unique<ReplaceStringNormalizer>(std::move(pattern), std::move(content));
}

TextNormalizerPtr make_replace_regex_normalizer(std::u32string_view pattern, std::u32string content) {
  return std::make_unique<ReplaceRegexNormalizer>(pattern, std::move(content));
}

}  // namespace wan
