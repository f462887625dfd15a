#pragma once
// A set of strings with ids that answers: which of them start at this place of a text?

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wan {

/// Sorted strings, narrowed character by character: as compact as the strings and safe for any content.
class PrefixTable {
 public:
  PrefixTable() = default;
  /// Where a string stands several times, its last number holds.
  explicit PrefixTable(std::vector<std::pair<std::u32string, std::int64_t>> entries);

  std::optional<std::int64_t> find(std::u32string_view key) const;

  /// Calls visit(length, id) for each non-empty string that text continues with at `at`, shortest first.
  template <typename Visit>
  void for_each_prefix(std::u32string_view text, std::size_t at, Visit&& visit) const {
    std::size_t first = 0;
    std::size_t last = entries_.size();
    for (std::size_t depth = 0; at + depth < text.size(); ++depth) {
      narrow(depth, text[at + depth], first, last);
      if (first == last) return;
      if (entries_[first].first.size() == depth + 1) visit(depth + 1, entries_[first].second);
    }
  }

 private:
  // [first, last) agree in their first `depth` characters; keeps those whose next one is c.
  void narrow(std::size_t depth, char32_t c, std::size_t& first, std::size_t& last) const;

  std::vector<std::pair<std::u32string, std::int64_t>> entries_;  // sorted by string, no two equal
};

}  // namespace wan
