// SentencePiece's compiled character map. Layout: u32 size of the trie in bytes, little-endian like all of
// it; the trie, a Darts double array of u32 units keyed by UTF-8 bytes; then the replacements, NUL-terminated
// UTF-8, that the trie's values are offsets into.
//
// tokenizers applies it by grapheme: one of fewer than six bytes is replaced whole by the entry of its
// *shortest* prefix that has one (so marks after that prefix vanish), any other character by character.
// SentencePiece takes the longest match anywhere; the two differ on some combining marks.

#include <unicode/brkiter.h>
#include <unicode/unistr.h>

#include <cstring>
#include <optional>

#include "base/error.h"
#include "text/unicode.h"
#include "tokenizers/normalizers.h"

namespace wan {
namespace {

constexpr std::size_t kLongGrapheme = 6;  // bytes

[[noreturn]] void fail_malformed(const char* what) {
  fail(ErrorCode::kBadFile,
       "[tokenizer] expected a SentencePiece character map (precompiled_charsmap), {}; replace the tokenizer "
       "file",
       what);
}

// One unit of a Darts double array.
class TrieUnit {
 public:
  explicit TrieUnit(std::uint32_t bits) : bits_(bits) {}
  bool has_leaf() const { return ((bits_ >> 8) & 1) != 0; }
  std::uint32_t value() const { return bits_ & 0x7FFFFFFFu; }
  std::uint32_t label() const { return bits_ & 0x800000FFu; }
  std::uint32_t offset() const { return (bits_ >> 10) << ((bits_ & 0x200u) >> 6); }

 private:
  std::uint32_t bits_;
};

class PrecompiledNormalizer final : public TextNormalizer {
 public:
  explicit PrecompiledNormalizer(std::string_view charsmap) {
    if (charsmap.size() < 4) fail_malformed("it is shorter than its first field");
    const std::uint32_t trie_bytes = read_u32(charsmap, 0);
    const std::size_t units = trie_bytes / 4;
    if (units == 0 || units > (charsmap.size() - 4) / 4) fail_malformed("its trie's size does not fit");
    trie_.reserve(units);
    for (std::size_t i = 0; i < units; ++i) trie_.push_back(read_u32(charsmap, 4 + 4 * i));
    replacements_ = charsmap.substr(4 + 4 * units);
    if (!utf8_to_u32(replacements_)) fail_malformed("its replacements are not UTF-8");
  }

  void normalize(AlignedText& text) const override {
    std::vector<CharChange> changes;
    changes.reserve(text.text.size());
    bool modified = false;
    for_each_grapheme(text.text, [&](std::u32string_view grapheme) {
      const std::string bytes = u32_to_utf8(grapheme);
      if (bytes.size() < kLongGrapheme) {
        if (const auto replacement = look_up(bytes)) {
          modified = true;
          append_replacement(changes, grapheme.size(), *replacement);
          return;
        }
      }
      for (char32_t c : grapheme) {
        std::string one;
        append_utf8(one, c);
        if (const auto replacement = look_up(one)) {
          modified = true;
          append_replacement(changes, 1, *replacement);
        } else {
          changes.push_back({c, 0});
        }
      }
    });
    if (modified) text.rewrite(changes, 0);
  }

 private:
  static std::uint32_t read_u32(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i)
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    return value;
  }

  TrieUnit unit(std::size_t at) const {
    if (at >= trie_.size()) fail_malformed("its trie points outside itself");
    return TrieUnit(trie_[at]);
  }

  // The replacement of the shortest prefix of `key` that has one.
  std::optional<std::u32string> look_up(std::string_view key) const {
    std::size_t node = unit(0).offset();
    for (char c : key) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte == 0) return std::nullopt;
      node ^= byte;
      const TrieUnit next = unit(node);
      if (next.label() != byte) return std::nullopt;
      node ^= next.offset();
      if (next.has_leaf()) return replacement_at(unit(node).value());
    }
    return std::nullopt;
  }

  std::u32string replacement_at(std::size_t offset) const {
    if (offset > replacements_.size()) fail_malformed("an entry points outside the replacements");
    const std::size_t end = std::min(replacements_.find('\0', offset), replacements_.size());
    const auto text = utf8_to_u32(std::string_view(replacements_).substr(offset, end - offset));
    if (!text) fail_malformed("an entry points into a character");
    return *text;
  }

  static void append_replacement(std::vector<CharChange>& changes, std::size_t old_count,
                                 std::u32string_view replacement) {
    for (std::size_t i = 0; i < replacement.size(); ++i)
      changes.push_back({replacement[i], i < old_count ? 0 : 1});
    if (replacement.size() < old_count && !changes.empty())
      changes.back().change -= static_cast<std::int64_t>(old_count - replacement.size());
  }

  // Extended grapheme clusters of UAX 29.
  template <typename Visit>
  static void for_each_grapheme(std::u32string_view text, Visit&& visit) {
    if (text.empty()) return;
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<icu::BreakIterator> breaks(
        icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
    if (U_FAILURE(status) || !breaks)
      fail(ErrorCode::kInternal, "[tokenizer] ICU has no grapheme rules: {}", u_errorName(status));
    const auto units = icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()),
                                                     static_cast<std::int32_t>(text.size()));
    breaks->setText(units);
    std::int32_t first = breaks->first();
    std::size_t point = 0;
    for (std::int32_t last = breaks->next(); last != icu::BreakIterator::DONE; last = breaks->next()) {
      const auto count = static_cast<std::size_t>(units.countChar32(first, last - first));
      visit(text.substr(point, count));
      point += count;
      first = last;
    }
  }

  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

}  // namespace

TextNormalizerPtr make_precompiled_normalizer(std::string_view charsmap) {
  return std::make_unique<PrecompiledNormalizer>(charsmap);
}

}  // namespace wan
