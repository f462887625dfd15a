#include "tokenizers/aligned_text.h"

#include <algorithm>
#include <numeric>

namespace wan {

AlignedText::AlignedText(std::u32string_view piece, std::size_t from)
    : text(piece), origin(piece.size()), start(from) {
  std::iota(origin.begin(), origin.end(), from);
}

AlignedText AlignedText::slice(std::size_t first, std::size_t last) const {
  AlignedText part;
  part.text = text.substr(first, last - first);
  part.origin.assign(origin.begin() + static_cast<std::ptrdiff_t>(first),
                     origin.begin() + static_cast<std::ptrdiff_t>(last));
  part.start = part.origin.empty() ? start : part.origin.front();
  return part;
}

void AlignedText::rewrite(const std::vector<CharChange>& changes, std::size_t removed) {
  std::u32string new_text;
  std::vector<std::size_t> new_origin;
  new_text.reserve(changes.size());
  new_origin.reserve(changes.size());
  std::size_t at = std::min(removed, text.size());
  for (const CharChange& next : changes) {
    new_text.push_back(next.point);
    if (next.change > 0 || at == text.size()) {
      new_origin.push_back(at == 0 ? start : origin[at - 1]);
      continue;
    }
    new_origin.push_back(origin[at]);
    at = std::min(at + 1 + static_cast<std::size_t>(-next.change), text.size());
  }
  text = std::move(new_text);
  origin = std::move(new_origin);
}

void AlignedText::prepend(std::u32string_view prefix) {
  if (text.empty()) return;
  origin.insert(origin.begin(), prefix.size(), origin.front());
  text.insert(0, prefix);
}

}  // namespace wan
