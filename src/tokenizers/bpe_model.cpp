#include "tokenizers/bpe_model.h"

#include <queue>
#include <tuple>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "text/unicode.h"

namespace wan {
namespace {

constexpr std::int64_t kMostPieces = std::int64_t{1} << 22;

/// The byte that a character of a piece stands for; nothing for any other.
std::optional<unsigned char> byte_of(char32_t point) {
  static const auto table = [] {
    std::array<int, 512> bytes{};
    bytes.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      bytes[printable ? static_cast<char32_t>(byte) : next++] = byte;
    }
    return bytes;
  }();
  if (point >= table.size() || table[point] < 0) return std::nullopt;
  return static_cast<unsigned char>(table[point]);
}

/// Pieces that are no bytes, such as special tokens in other scripts, are their text.
std::string bytes_of_piece(std::u32string_view piece) {
  std::string bytes;
  for (const char32_t point : piece) {
    const auto byte = byte_of(point);
    if (!byte) return u32_to_utf8(piece);
    bytes += static_cast<char>(*byte);
  }
  return bytes;
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

BpeModel::BpeModel(const std::vector<std::pair<std::u32string, std::int64_t>>& pieces,
                   const std::vector<BpeMerge>& merges) {
  byte_ids_.fill(-1);
  for (const auto& [piece, id] : pieces) {
    WAN_CHECK(id >= 0 && id < kMostPieces, kBadFile,
              "[tokenizer] expected ids below {}, got {}; replace tokenizer.json", kMostPieces, id);
    const auto place = static_cast<std::size_t>(id);
    if (place >= bytes_.size()) {
      bytes_.resize(place + 1);
      is_piece_.resize(place + 1);
    }
    WAN_CHECK(!is_piece_[place], kBadFile,
              "[tokenizer] expected one piece with the id {}, got two; replace tokenizer.json", id);
    is_piece_[place] = true;
    bytes_[place] = bytes_of_piece(piece);
    ids_[piece] = id;
    if (piece.size() == 1)
      if (const auto byte = byte_of(piece.front())) byte_ids_[*byte] = static_cast<std::int32_t>(id);
  }
  const auto id_of = [&](const std::u32string& piece) {
    const auto id = find(piece);
    WAN_CHECK(id, kBadFile,
              "[tokenizer] a merge names \"{}\", which is no piece of the vocabulary; replace tokenizer.json",
              shortened(u32_to_utf8(piece)));
    return static_cast<std::int32_t>(*id);
  };
  std::int32_t rank = 0;
  for (const auto& [left, right] : merges)
    merges_[pair_key(id_of(left), id_of(right))] = {rank++, id_of(left + right)};
}

std::optional<std::int64_t> BpeModel::find(std::u32string_view piece) const {
  const auto found = ids_.find(std::u32string(piece));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> BpeModel::bytes_of(std::int64_t id) const {
  if (id < 0 || id >= size() || !is_piece_[static_cast<std::size_t>(id)]) return std::nullopt;
  return bytes_[static_cast<std::size_t>(id)];
}

const BpeModel::Merge* BpeModel::merge_of(std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeModel::encode(std::string_view bytes, std::vector<std::int64_t>& ids) const {
  // Tokens as a list over the places of their first bytes; a candidate is out of date once either of its tokens has changed.
  struct Token {
    std::int32_t id;
    std::int64_t before, after;  // -1 and the size: none
  };
  std::vector<Token> tokens;
  tokens.reserve(bytes.size());
  for (const char byte : bytes) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id < 0) continue;  // Hugging Face leaves out what has no piece
    const auto place = static_cast<std::int64_t>(tokens.size());
    tokens.push_back({id, place - 1, place + 1});
  }
  const auto count = static_cast<std::int64_t>(tokens.size());
  const auto token = [&](std::int64_t place) -> Token& { return tokens[static_cast<std::size_t>(place)]; };
  using Candidate = std::tuple<std::int32_t, std::int64_t, std::int32_t, std::int32_t>;  // rank, place, ids
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](std::int64_t place) {
    if (place < 0 || token(place).after >= count) return;
    const std::int32_t right = token(token(place).after).id;
    if (const Merge* merge = merge_of(token(place).id, right))
      candidates.emplace(merge->rank, place, token(place).id, right);
  };
  for (std::int64_t i = 0; i < count; ++i) consider(i);
  constexpr std::int32_t kGone = -1;
  while (!candidates.empty()) {
    const auto [rank, place, left, right] = candidates.top();
    candidates.pop();
    Token& first = token(place);
    if (first.id != left || first.after >= count || token(first.after).id != right) continue;
    Token& second = token(first.after);
    first.id = merge_of(left, right)->id;
    second.id = kGone;
    first.after = second.after;
    if (first.after < count) token(first.after).before = place;
    consider(first.before);
    consider(place);
  }
  for (std::int64_t i = 0; i < count; i = token(i).after) ids.push_back(token(i).id);
}

}  // namespace wan
