#pragma once
// Text that remembers where in the prompt each of its characters came from, while normalisers rewrite it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// A character of rewritten text. `change` is 0 where it replaces the next old character, 1 where it is
/// inserted after what came before, -n where it replaces the next old one and the n after that vanish.
struct CharChange {
  char32_t point;
  std::int64_t change;
};

struct AlignedText {
  std::u32string text;
  std::vector<std::size_t> origin;  // [text.size()], index in the prompt
  std::size_t start = 0;            // index in the prompt of what this was cut out of

  AlignedText() = default;
  /// A piece of a prompt, from its index `from`, unchanged.
  AlignedText(std::u32string_view piece, std::size_t from);

  /// Characters [first, last), with the origin of the first as start.
  AlignedText slice(std::size_t first, std::size_t last) const;

  /// Replaces the whole text; `removed` old characters vanish before the first change.
  void rewrite(const std::vector<CharChange>& changes, std::size_t removed);

  /// Puts `prefix` before the text, with the origin of its first character; nothing if the text is empty.
  void prepend(std::u32string_view prefix);
};

}  // namespace wan
