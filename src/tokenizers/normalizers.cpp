#include "tokenizers/normalizers.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"

namespace wan {
namespace {

class SequenceNormalizer final : public TextNormalizer {
 public:
  explicit SequenceNormalizer(std::vector<TextNormalizerPtr> steps) : steps_(std::move(steps)) {}
  void normalize(AlignedText& text) const override {
    for (const TextNormalizerPtr& step : steps_) step->normalize(text);
  }

 private:
  std::vector<TextNormalizerPtr> steps_;
};

class StripNormalizer final : public TextNormalizer {
 public:
  explicit StripNormalizer(StripSides sides) : sides_(sides) {}
  void normalize(AlignedText& text) const override {
    std::size_t first = 0;
    std::size_t last = text.text.size();
    if (sides_.left)
      while (first < last && is_white_space(text.text[first])) ++first;
    if (sides_.right)
      while (last > first && is_white_space(text.text[last - 1])) --last;
    text = text.slice(first, last);
  }

 private:
  StripSides sides_;
};

class NmtNormalizer final : public TextNormalizer {
 public:
  void normalize(AlignedText& text) const override {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < text.text.size(); ++i) {
      const char32_t c = text.text[i];
      if (vanishes(c)) continue;
      text.text[kept] = is_space(c) ? U' ' : c;
      text.origin[kept] = text.origin[i];
      ++kept;
    }
    text.text.resize(kept);
    text.origin.resize(kept);
  }

 private:
  static bool vanishes(char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
           c == 0x9F;
  }
  static bool is_space(char32_t c) {
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  }
};

// The version of the Unicode tables in tokenizers 0.21.4 (its crate unicode-normalization-alignments).
constexpr int kUnicodeVersion = 11;

class UnicodeNormalizer final : public TextNormalizer {
 public:
  explicit UnicodeNormalizer(UnicodeForm form) : form_(form) {}

  // Segment by segment, each between two places that the form cannot change across; all characters of a segment
  // get the origin of its first. Characters that tokenizers' tables do not know yet stay as they are.
  void normalize(AlignedText& text) const override {
    AlignedText out;
    out.start = text.start;
    const icu::Normalizer2* boundaries = instance();
    for (std::size_t first = 0; first < text.text.size();) {
      const std::u32string_view rest = std::u32string_view(text.text).substr(first);
      std::size_t length = 1;
      if (is_unknown(rest[0])) {
        out.text.push_back(rest[0]);
      } else {
        while (length < rest.size() && !is_unknown(rest[length]) &&
               !boundaries->hasBoundaryBefore(static_cast<UChar32>(rest[length])))
          ++length;
        out.text += apply(rest.substr(0, length));
      }
      out.origin.resize(out.text.size(), text.origin[first]);
      first += length;
    }
    text = std::move(out);
  }

 private:
  static bool is_unknown(char32_t c) {
    UVersionInfo since;
    u_charAge(static_cast<UChar32>(c), since);
    return since[0] > kUnicodeVersion;
  }

  const icu::Normalizer2* instance() const {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* found = nullptr;
    switch (form_) {
      case UnicodeForm::kNfc:
        found = icu::Normalizer2::getNFCInstance(status);
        break;
      case UnicodeForm::kNfd:
        found = icu::Normalizer2::getNFDInstance(status);
        break;
      case UnicodeForm::kNfkc:
        found = icu::Normalizer2::getNFKCInstance(status);
        break;
      case UnicodeForm::kNfkd:
        found = icu::Normalizer2::getNFKDInstance(status);
        break;
    }
    if (U_FAILURE(status) || found == nullptr)
      fail(ErrorCode::kInternal, "[tokenizer] ICU's normaliser is missing: {}", u_errorName(status));
    return found;
  }
  std::u32string apply(std::u32string_view segment) const {
    switch (form_) {
      case UnicodeForm::kNfc:
        return to_nfc(segment);
      case UnicodeForm::kNfd:
        return to_nfd(segment);
      case UnicodeForm::kNfkc:
        return to_nfkc(segment);
      case UnicodeForm::kNfkd:
        return to_nfkd(segment);
    }
    return std::u32string(segment);
  }

  UnicodeForm form_;
};

class PrependNormalizer final : public TextNormalizer {
 public:
  explicit PrependNormalizer(std::u32string prefix) : prefix_(std::move(prefix)) {}
  void normalize(AlignedText& text) const override { text.prepend(prefix_); }

 private:
  std::u32string prefix_;
};

}  // namespace

TextNormalizerPtr make_sequence_normalizer(std::vector<TextNormalizerPtr> steps) {
  return std::make_unique<SequenceNormalizer>(std::move(steps));
}
TextNormalizerPtr make_strip_normalizer(StripSides sides) {
  return std::make_unique<StripNormalizer>(sides);
}
TextNormalizerPtr make_nmt_normalizer() {
  return std::make_unique<NmtNormalizer>();
}
TextNormalizerPtr make_unicode_normalizer(UnicodeForm form) {
  return std::make_unique<UnicodeNormalizer>(form);
}
TextNormalizerPtr make_prepend_normalizer(std::u32string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}

}  // namespace wan
