#include "tokenizers/prefix_table.h"

#include <algorithm>

namespace wan {

PrefixTable::PrefixTable(std::vector<std::pair<std::u32string, std::int64_t>> entries)
    : entries_(std::move(entries)) {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // Where strings are equal the last one given stays: from the back it comes first.
  const auto kept = std::unique(entries_.rbegin(), entries_.rend(),
                                [](const auto& a, const auto& b) { return a.first == b.first; });
  entries_.erase(entries_.begin(), kept.base());
}

std::optional<std::int64_t> PrefixTable::find(std::u32string_view key) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), key,
                       [](const auto& entry, std::u32string_view k) { return entry.first < k; });
  if (found == entries_.end() || found->first != key) return std::nullopt;
  return found->second;
}

void PrefixTable::narrow(std::size_t depth, char32_t c, std::size_t& first, std::size_t& last) const {
  // A string that ends before this character sorts before all that go on.
  const auto next = [depth](const auto& entry) {
    return entry.first.size() > depth ? static_cast<std::int64_t>(entry.first[depth]) : std::int64_t{-1};
  };
  const auto wanted = static_cast<std::int64_t>(c);
  const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(last);
  const auto low = std::partition_point(begin, end, [&](const auto& e) { return next(e) < wanted; });
  const auto high = std::partition_point(low, end, [&](const auto& e) { return next(e) == wanted; });
  first = static_cast<std::size_t>(low - entries_.begin());
  last = static_cast<std::size_t>(high - entries_.begin());
}

}  // namespace wan
