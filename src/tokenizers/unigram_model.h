#pragma once
// The unigram language model of SentencePiece: the likeliest way to cut text into pieces, with Hugging Face's
// rules for unknown characters.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizers/prefix_table.h"
#include "tokenizers/vocabulary.h"

namespace wan {

struct UnigramPiece {
  std::u32string text;
  double score = 0;  // log probability
};

enum class ByteFallback { kOff, kOn };

class UnigramModel final : public Vocabulary {
 public:
  /// A piece's id is its index. Throws BadFile when unknown_id is none of them.
  UnigramModel(std::vector<UnigramPiece> pieces, std::optional<std::int64_t> unknown_id,
               ByteFallback fallback);

  /// Appends the ids of the best segmentation. A run of unknown characters becomes one unknown id, or, with
  /// byte fallback and a piece <0xNN> for every byte of it, those. Throws BadFile on an unknown character
  /// when the model has no unknown_id.
  void encode(std::u32string_view text, std::vector<std::int64_t>& ids) const;

  std::optional<std::int64_t> find(std::u32string_view piece) const override { return table_.find(piece); }
  std::int64_t size() const override { return static_cast<std::int64_t>(scores_.size()); }

 private:
  void encode_unknown(std::u32string_view text, std::vector<std::int64_t>& ids) const;

  PrefixTable table_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::optional<std::int64_t> unknown_id_;
  std::vector<std::optional<std::int64_t>> byte_ids_;  // [256] with byte fallback, else empty
};

}  // namespace wan
