#pragma once
// ByteLevelTokenizer: text to token ids and back, for language models of the GPT-2 kind (Qwen2.5), as Hugging Face's fast tokenizers
// do it (transformers 4.51.3, tokenizers 0.21.4).

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/added_tokens.h"
#include "tokenizers/bpe_model.h"
#include "tokenizers/normalizers.h"
#include "tokenizers/pre_tokenizers.h"

namespace wan {

struct ByteLevelParts {
  explicit ByteLevelParts(BpeModel the_model) : model(std::move(the_model)) {}

  BpeModel model;
  TextNormalizerPtr normalizer;   // may be null
  PreTokenizerPtr pre_tokenizer;  // may be null
  AddedVocabulary added;          // not yet prepared
};

class ByteLevelTokenizer {
 public:
  explicit ByteLevelTokenizer(ByteLevelParts parts);

  /// Special tokens spelled out in the text become their ids; none are added. Throws InvalidArgument when it is not UTF-8.
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// Special tokens are left out; bytes that are no UTF-8 become U+FFFD.
  std::string decode(std::span<const std::int64_t> ids) const;
  /// The id of an added token or a piece.
  std::optional<std::int64_t> find(std::string_view content) const;
  /// One more than the largest id.
  std::int64_t vocabulary_size() const;

 private:
  ByteLevelParts parts_;
};

/// A folder's tokenizer.json. Throws BadFile or Unsupported, naming the folder and what is wrong in it.
ByteLevelTokenizer load_byte_level_tokenizer(const std::filesystem::path& folder);
/// From the bytes of a tokenizer.json. Its model must be BPE over bytes.
ByteLevelTokenizer parse_byte_level_tokenizer(std::string_view json);

}  // namespace wan
