#include "text/normalizers.h"

#include <unicode/normalizer2.h>

#include <algorithm>
#include <cstdint>
#include <utility>

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
    const std::size_t start = text.start;
    text = text.slice(first, last);
    text.start = start;
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

class UnicodeNormalizer final : public TextNormalizer {
 public:
  explicit UnicodeNormalizer(UnicodeForm form) : form_(form) {}

  // Segment by segment, each between two places where the form cannot change across; all characters of a
  // segment get the origin of its first.
  void normalize(AlignedText& text) const override {
    AlignedText out;
    out.start = text.start;
    const icu::Normalizer2* boundaries = instance();
    for (std::size_t first = 0; first < text.text.size();) {
      std::size_t last = first + 1;
      while (last < text.text.size() &&
             !(boundaries && boundaries->hasBoundaryBefore(static_cast<UChar32>(text.text[last]))))
        ++last;
      out.text += apply(std::u32string_view(text.text).substr(first, last - first));
      out.origin.resize(out.text.size(), text.origin[first]);
      first = last;
    }
    text = std::move(out);
  }

 private:
  const icu::Normalizer2* instance() const {
    UErrorCode status = U_ZERO_ERROR;
    switch (form_) {
      case UnicodeForm::kNfc:
        return icu::Normalizer2::getNFCInstance(status);
      case UnicodeForm::kNfd:
        return icu::Normalizer2::getNFDInstance(status);
      case UnicodeForm::kNfkc:
        return icu::Normalizer2::getNFKCInstance(status);
      case UnicodeForm::kNfkd:
        return icu::Normalizer2::getNFKDInstance(status);
    }
    return nullptr;
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
