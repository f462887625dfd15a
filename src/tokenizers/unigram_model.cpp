#include "tokenizers/unigram_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/unicode.h"

namespace wan {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the least likely piece

// The best path that ends at a position of the text.
struct PathEnd {
  double score = 0;
  std::int64_t id = 0;
  std::size_t start = std::numeric_limits<std::size_t>::max();

  bool reached() const { return start != std::numeric_limits<std::size_t>::max(); }
  void offer(double candidate, std::int64_t piece, std::size_t from) {
    if (reached() && candidate <= score) return;
    score = candidate;
    id = piece;
    start = from;
  }
};

}  // namespace

UnigramModel::UnigramModel(std::vector<UnigramPiece> pieces, std::optional<std::int64_t> unknown_id,
                           ByteFallback fallback)
    : unknown_id_(unknown_id) {
  WAN_CHECK(!pieces.empty(), kBadFile,
            "[tokenizer] expected a vocabulary, got an empty one; replace the file");
  WAN_CHECK(!unknown_id || (*unknown_id >= 0 && *unknown_id < static_cast<std::int64_t>(pieces.size())),
            kBadFile, "[tokenizer] expected the unknown token among {} pieces, got id {}; replace the file",
            pieces.size(), unknown_id.value_or(0));
  double least = std::numeric_limits<double>::infinity();
  std::vector<std::pair<std::u32string, std::int64_t>> entries;
  entries.reserve(pieces.size());
  scores_.reserve(pieces.size());
  for (UnigramPiece& piece : pieces) {
    WAN_CHECK(std::isfinite(piece.score), kBadFile,
              "[tokenizer] expected finite scores, got {} for piece {}; replace the file", piece.score,
              scores_.size());
    least = std::min(least, piece.score);
    entries.emplace_back(std::move(piece.text), static_cast<std::int64_t>(scores_.size()));
    scores_.push_back(piece.score);
  }
  unknown_score_ = least - kUnknownPenalty;
  table_ = PrefixTable(std::move(entries));
  if (fallback == ByteFallback::kOff) return;
  byte_ids_.resize(256);
  for (int byte = 0; byte < 256; ++byte) {
    const auto name = utf8_to_u32(fmt::format("<0x{:02X}>", byte));
    byte_ids_[byte] = table_.find(*name);
  }
}

void UnigramModel::encode(std::u32string_view text, std::vector<std::int64_t>& ids) const {
  std::vector<PathEnd> ends(text.size() + 1);
  for (std::size_t at = 0; at < text.size(); ++at) {
    const double score_here = ends[at].score;
    bool has_single = false;
    table_.for_each_prefix(text, at, [&](std::size_t length, std::int64_t id) {
      ends[at + length].offer(score_here + scores_[static_cast<std::size_t>(id)], id, at);
      has_single |= length == 1;
    });
    if (has_single) continue;
    const double candidate = score_here + unknown_score_;
    PathEnd& next = ends[at + 1];
    if (next.reached() && candidate <= next.score) continue;
    WAN_CHECK(
        unknown_id_, kBadFile,
        "[tokenizer] expected a piece for U+{:04X} or an unknown token, the vocabulary has neither; replace "
        "the tokenizer",
        static_cast<std::uint32_t>(text[at]));
    next.offer(candidate, *unknown_id_, at);
  }

  std::vector<std::pair<std::size_t, std::size_t>> path;  // start, end; last piece first
  for (std::size_t end = text.size(); end > 0; end = ends[end].start) path.emplace_back(ends[end].start, end);
  for (std::size_t i = path.size(); i-- > 0;) {
    const auto [start, end] = path[i];
    if (ends[end].id != unknown_id_) {
      ids.push_back(ends[end].id);
      continue;
    }
    std::size_t run_end = end;
    while (i > 0 && ends[path[i - 1].second].id == unknown_id_) run_end = path[--i].second;
    encode_unknown(text.substr(start, run_end - start), ids);
  }
}

void UnigramModel::encode_unknown(std::u32string_view text, std::vector<std::int64_t>& ids) const {
  // A run that happens to spell a piece (such as <unk> itself) is that piece.
  if (const auto id = table_.find(text)) {
    ids.push_back(*id);
    return;
  }
  if (!byte_ids_.empty()) {
    const std::string bytes = u32_to_utf8(text);
    const auto id_of = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return id_of(byte).has_value(); })) {
      for (char byte : bytes) ids.push_back(*id_of(byte));
      return;
    }
  }
  ids.push_back(*unknown_id_);
}

}  // namespace wan
