#include "tokenizers/listed_tokenizer.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "text/unicode.h"

namespace wan {
namespace {

/// How Qwen2's tokenizer.json cuts text.
constexpr std::u32string_view kQwen2Pattern =
    U"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    U"\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/// ggml's numbers of kinds; its others ("unknown", "byte") are of other kinds of tokenizers.
enum Kind : std::int64_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

constexpr const char* kRemedy = "download the GGUF file again, or use the model's folder";

std::u32string points_of_piece(std::string_view text, const std::string& file) {
  auto points = utf8_to_u32(text);
  WAN_CHECK(points, kBadFile, "[{}] a piece of the tokenizer is no UTF-8; {}", file, kRemedy);
  return *std::move(points);
}

std::vector<BpeMerge> read_merges(std::span<const std::string_view> merges, const std::string& file) {
  std::vector<BpeMerge> result;
  for (const std::string_view merge : merges) {
    const std::size_t space = merge.find(' ');
    WAN_CHECK(space != merge.npos && space > 0 && space + 1 < merge.size(), kBadFile,
              "[{}] a merge of the tokenizer is {}, expected two pieces with a space between; {}", file,
              quote_name(merge), kRemedy);
    result.emplace_back(points_of_piece(merge.substr(0, space), file),
                        points_of_piece(merge.substr(space + 1), file));
  }
  return result;
}

}  // namespace

ByteLevelTokenizer make_listed_tokenizer(const ListedTokens& tokens, const std::string& file) {
  WAN_CHECK(tokens.name == "qwen2", kUnsupported,
            "[{}] has a tokenizer of the kind {}, expected qwen2: use a GGUF file of Qwen2.5 Instruct, or "
            "the model's "
            "folder with safetensors files",
            file, quote_name(tokens.name));
  WAN_CHECK(!tokens.pieces.empty() && tokens.kinds.size() == tokens.pieces.size(), kBadFile,
            "[{}] has {} pieces of a tokenizer and the kinds of {}; {}", file, tokens.pieces.size(),
            tokens.kinds.size(), kRemedy);
  std::vector<std::pair<std::u32string, std::int64_t>> pieces;
  std::vector<std::pair<AddedToken, std::int64_t>> added;
  for (std::size_t i = 0; i < tokens.pieces.size(); ++i) {
    const auto id = static_cast<std::int64_t>(i);
    const std::int64_t kind = tokens.kinds[i];
    if (kind == kUnused) continue;
    WAN_CHECK(kind == kNormal || kind == kControl || kind == kUserDefined, kBadFile,
              "[{}] token {} is of kind {}, expected 1, 3, 4 or 5; {}", file, id, kind, kRemedy);
    std::u32string piece = points_of_piece(tokens.pieces[i], file);
    if (kind == kNormal)
      pieces.emplace_back(std::move(piece), id);
    else
      added.push_back({{.content = std::move(piece), .special = kind == kControl}, id});
  }
  ByteLevelParts parts(BpeModel(pieces, read_merges(tokens.merges, file)));
  parts.normalizer = make_unicode_normalizer(UnicodeForm::kNfc);
  parts.pre_tokenizer = make_split_pre_tokenizer(kQwen2Pattern);
  for (const auto& [token, id] : added) {
    parts.added.add({token}, parts.model);
    const auto given = parts.added.find(token.content);
    WAN_CHECK(given == id, kBadFile, "[{}] token {} stands among the tokenizer's pieces; {}", file, id,
              kRemedy);
  }
  return ByteLevelTokenizer(std::move(parts));
}

}  // namespace wan
