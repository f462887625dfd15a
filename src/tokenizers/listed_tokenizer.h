#pragma once
// A byte-level tokenizer from bare lists, as a GGUF file holds them: what tokenizer.json says besides is known by the tokenizer's name.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tokenizers/byte_level_tokenizer.h"

namespace wan {

/// What "tokenizer.ggml.*" of a GGUF file holds; a piece's id is its place.
struct ListedTokens {
  std::string_view name;  // "pre": how text is cut
  std::span<const std::string_view>
      pieces;  // a character a byte; tokens that stand for themselves as they are
  std::span<const std::string_view> merges;  // two pieces with a space between
  std::span<const std::int64_t> kinds;       // of each piece, as ggml numbers them
};

/// `file` begins messages. Throws Unsupported for a name other than "qwen2", BadFile for lists that do not go together.
ByteLevelTokenizer make_listed_tokenizer(const ListedTokens& tokens, const std::string& file);

}  // namespace wan
