#pragma once
// What tokenizer_config.json and special_tokens_map.json add to a tokenizer, as transformers' T5TokenizerFast
// reads them.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/added_tokens.h"
#include "tokenizers/pre_tokenizers.h"

namespace wan {

/// How transformers converts a spiece.model.
struct SpieceOptions {
  std::int64_t extra_ids = 0;  // <extra_id_0> ... appended to the vocabulary, the last number first
  PrependScheme prepend = PrependScheme::kAlways;
};

/// A special token, spelled out or with all its flags.
struct SpecialToken {
  std::u32string content;
  std::optional<AddedToken> flags;
};

struct TokenizerConfig {
  std::map<std::int64_t, AddedToken> added_tokens;
  std::map<std::string, SpecialToken> named;  // "eos_token", "pad_token" ...
  std::vector<SpecialToken> additional;
  SpieceOptions spiece;
  bool rebuild_from_spiece = false;  // the file asks for a conversion even where tokenizer.json is there
};

/// Either text may be empty where there is no such file; without tokenizer_config.json nothing is added.
TokenizerConfig read_tokenizer_config(std::string_view config_json, std::string_view special_tokens_json);

/// Adds the configuration's tokens that `added` does not have yet.
void add_configured_tokens(const TokenizerConfig& config, const Vocabulary& model, AddedVocabulary& added);

class JsonReader;
/// A string as code points.
std::u32string points_of(const JsonReader& json);
/// An added token as the JSON files spell it: content and flags.
AddedToken read_added_token(const JsonReader& json);

/// Containers in containers of the JSON files: a tokenizer.json has some ten.
inline constexpr int kTokenizerJsonDepth = 64;

}  // namespace wan
