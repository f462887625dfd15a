// Normalisers that replace the matches of a string or of a regular expression.

#include <utility>

#include "base/error.h"
#include "tokenizers/normalizers.h"
#include "tokenizers/text_pattern.h"

namespace wan {
namespace {

// Inserted characters have the origin of the last one replaced.
void replace_matches(AlignedText& text, const std::vector<PatternMatch>& matches,
                     std::u32string_view content) {
  if (matches.empty()) return;
  AlignedText out;
  out.start = text.start;
  std::size_t done = 0;
  const auto copy_until = [&](std::size_t end) {
    out.text.append(text.text, done, end - done);
    out.origin.insert(out.origin.end(), text.origin.begin() + static_cast<std::ptrdiff_t>(done),
                      text.origin.begin() + static_cast<std::ptrdiff_t>(end));
  };
  for (const PatternMatch& match : matches) {
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
    std::vector<PatternMatch> matches;
    for (std::size_t at = text.text.find(pattern_); at != text.text.npos;
         at = text.text.find(pattern_, at + pattern_.size()))
      matches.push_back({at, at + pattern_.size()});
    replace_matches(text, matches, content_);
  }

 private:
  std::u32string pattern_;
  std::u32string content_;
};

class ReplaceRegexNormalizer final : public TextNormalizer {
 public:
  ReplaceRegexNormalizer(std::u32string_view pattern, std::u32string content)
      : pattern_(pattern, "a Replace"), content_(std::move(content)) {
    WAN_CHECK(pattern_.find_all(U"").empty(), kUnsupported,
              "[tokenizer] expected a Replace pattern that matches some character, it matches \"\"; replace "
              "tokenizer.json");
  }

  void normalize(AlignedText& text) const override {
    std::vector<PatternMatch> matches = pattern_.find_all(text.text);
    std::erase_if(matches, [](const PatternMatch& match) { return match.first == match.last; });
    replace_matches(text, matches, content_);
  }

 private:
  TextPattern pattern_;
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
