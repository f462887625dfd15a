#pragma once
// The steps that rewrite text before it is cut into pieces, as Hugging Face's tokenizers does them.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/aligned_text.h"

namespace wan {

class TextNormalizer {
 public:
  virtual ~TextNormalizer() = default;
  virtual void normalize(AlignedText& text) const = 0;
};

using TextNormalizerPtr = std::unique_ptr<TextNormalizer>;

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

struct StripSides {
  bool left = true;
  bool right = true;
};

/// One after the other.
TextNormalizerPtr make_sequence_normalizer(std::vector<TextNormalizerPtr> steps);
/// Removes white space from the ends.
TextNormalizerPtr make_strip_normalizer(StripSides sides);
/// The control and white space rules of SentencePiece's nmt normalisations.
TextNormalizerPtr make_nmt_normalizer();
TextNormalizerPtr make_unicode_normalizer(UnicodeForm form);
TextNormalizerPtr make_prepend_normalizer(std::u32string prefix);
/// Every occurrence of a non-empty string by another.
TextNormalizerPtr make_replace_string_normalizer(std::u32string pattern, std::u32string content);
/// Every match of a regular expression by a string. Throws BadFile when ICU cannot compile it, Unsupported
/// when it matches nothing at all ("").
TextNormalizerPtr make_replace_regex_normalizer(std::u32string_view pattern, std::u32string content);
/// SentencePiece's compiled character map, applied by grapheme as tokenizers does. Throws BadFile when it is
/// malformed, at once or where text leads to a malformed entry.
TextNormalizerPtr make_precompiled_normalizer(std::string_view charsmap);

}  // namespace wan
