#pragma once
// Byte-pair encoding over bytes: a stretch of text begins as one token a byte, and pairs of neighbours are joined in the order of
// the merges, the earliest first.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizers/vocabulary.h"

namespace wan {

/// A merge's two halves, as the files spell them.
using BpeMerge = std::pair<std::u32string, std::u32string>;

class BpeModel final : public Vocabulary {
 public:
  /// `pieces` are spelled as the files do, a character a byte: printable ones stand for themselves, the others for U+0100 and on.
  /// Throws BadFile where an id stands twice, or a merge's half or result is none.
  BpeModel(const std::vector<std::pair<std::u32string, std::int64_t>>& pieces,
           const std::vector<BpeMerge>& merges);

  /// Appends the ids of a stretch of UTF-8 text; bytes without a piece are left out.
  void encode(std::string_view bytes, std::vector<std::int64_t>& ids) const;
  /// The bytes that an id stands for; nothing where it is no piece.
  std::optional<std::string_view> bytes_of(std::int64_t id) const;

  std::optional<std::int64_t> find(std::u32string_view piece) const override;
  std::int64_t size() const override { return static_cast<std::int64_t>(bytes_.size()); }

 private:
  struct Merge {
    std::int32_t rank;
    std::int32_t id;  // of what is joined
  };
  /// What two neighbours are joined to; nullptr where they are not.
  const Merge* merge_of(std::int32_t left, std::int32_t right) const;

  std::unordered_map<std::u32string, std::int64_t> ids_;
  std::vector<std::string> bytes_;  // by id
  std::vector<bool> is_piece_;      // by id
  std::array<std::int32_t, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;  // by both ids
};

}  // namespace wan
