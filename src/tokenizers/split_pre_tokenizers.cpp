// Pre-tokenizers of byte-level tokenizers: cuts at matches of a regular expression, and round digits.

#include <unicode/uchar.h>

#include <utility>

#include "tokenizers/pre_tokenizers.h"
#include "tokenizers/text_pattern.h"

namespace wan {
namespace {

void cut_piece(const AlignedText& text, std::size_t first, std::size_t last, std::vector<AlignedText>& out) {
  if (first < last) out.push_back(text.slice(first, last));
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  explicit SplitPreTokenizer(std::u32string_view pattern) : pattern_(pattern, "a Split") {}

  void split(AlignedText text, std::vector<AlignedText>& out) const override {
    std::size_t done = 0;
    for (const PatternMatch& match : pattern_.find_all(text.text)) {
      cut_piece(text, done, match.first, out);
      cut_piece(text, match.first, match.last, out);
      done = match.last;
    }
    cut_piece(text, done, text.text.size(), out);
  }

 private:
  TextPattern pattern_;
};

/// Rust's char::is_numeric.
bool is_numeric(char32_t point) {
  return (U_GET_GC_MASK(static_cast<UChar32>(point)) & U_GC_N_MASK) != 0;
}

class DigitsPreTokenizer final : public PreTokenizer {
 public:
  explicit DigitsPreTokenizer(DigitRuns runs) : runs_(runs) {}

  void split(AlignedText text, std::vector<AlignedText>& out) const override {
    for (std::size_t first = 0; first < text.text.size();) {
      const bool numeric = is_numeric(text.text[first]);
      std::size_t last = first + 1;
      if (!numeric || runs_ == DigitRuns::kTogether)
        while (last < text.text.size() && is_numeric(text.text[last]) == numeric) ++last;
      cut_piece(text, first, last, out);
      first = last;
    }
  }

 private:
  DigitRuns runs_;
};

}  // namespace

PreTokenizerPtr make_split_pre_tokenizer(std::u32string_view pattern) {
  return std::make_unique<SplitPreTokenizer>(pattern);
}
PreTokenizerPtr make_digits_pre_tokenizer(DigitRuns runs) {
  return std::make_unique<DigitsPreTokenizer>(runs);
}

}  // namespace wan
