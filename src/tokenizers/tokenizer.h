#pragma once
// From a prompt to the token ids of the text encoder, as the official code gets them from Hugging Face's fast
// tokenizer (transformers 4.51.3, tokenizers 0.21.4).

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

struct TokenizedPrompt {
  std::string cleaned;             // what was tokenized, UTF-8
  std::vector<std::int64_t> ids;   // [max_tokens], the pad id after the first `used`
  std::vector<std::int64_t> mask;  // [max_tokens], 1 for the first `used`, then 0
  int used = 0;
  bool truncated = false;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of text that is already clean, </s> last, not truncated. Special tokens spelled out in the text
  /// become their ids. Throws InvalidArgument when it is not UTF-8.
  virtual std::vector<std::int64_t> encode(std::string_view cleaned) const = 0;

  virtual std::int64_t pad_id() const = 0;
  virtual std::int64_t eos_id() const = 0;
  /// One more than the largest id.
  virtual std::int64_t vocabulary_size() const = 0;
  /// How many ids encode() puts after those of the text; truncation keeps them.
  virtual int closing_tokens() const = 0;

  /// Cleans (clean_prompt), encodes, truncates the text's ids so that </s> stays last, pads. Throws
  /// InvalidArgument when the prompt is not UTF-8.
  TokenizedPrompt tokenize(std::string_view prompt, int max_tokens) const;
};

/// The tokenizer of a checkpoint's google/umt5-xxl folder: tokenizer.json where it is there, else
/// spiece.model, as transformers converts it; either with the special tokens of tokenizer_config.json and
/// special_tokens_map.json where those are there. Throws BadFile or Unsupported, naming the file and what is
/// wrong in it.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

/// From the bytes of a tokenizer.json alone. Its model must be Unigram.
std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view json);

/// From the bytes of a spiece.model alone (a SentencePiece unigram model), without extra ids.
std::unique_ptr<Tokenizer> parse_spiece_model(std::string_view bytes);

}  // namespace wan
