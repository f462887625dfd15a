#pragma once
// TextPattern: a tokenizer's regular expression, by ICU, over code points.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

struct PatternMatch {
  std::size_t first;
  std::size_t last;  // one past its end
};

class TextPattern {
 public:
  /// `owner` names in messages what has the pattern ("Replace"). White space in it is Unicode's, as for Rust and Oniguruma, where
  /// ICU's \s leaves out two characters. Throws BadFile where ICU cannot compile it.
  TextPattern(std::u32string_view pattern, std::string owner);
  ~TextPattern();
  TextPattern(TextPattern&&) noexcept;
  TextPattern& operator=(TextPattern&&) noexcept;

  /// All matches in order, empty ones too. Throws Unsupported for a pattern that takes too long on this text.
  std::vector<PatternMatch> find_all(std::u32string_view text) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
  std::string owner_;
};

}  // namespace wan
