#pragma once
// A tokenizer put together: added tokens, normaliser, pre-tokenizer, unigram model, template.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizers/added_tokens.h"
#include "tokenizers/normalizers.h"
#include "tokenizers/pre_tokenizers.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/unigram_model.h"

namespace wan {

/// Ids put around those of the text.
struct TokenTemplate {
  std::vector<std::int64_t> before;
  std::vector<std::int64_t> after;
};

struct TokenizerParts {
  explicit TokenizerParts(UnigramModel the_model) : model(std::move(the_model)) {}

  UnigramModel model;
  TextNormalizerPtr normalizer;   // may be null
  PreTokenizerPtr pre_tokenizer;  // may be null
  AddedVocabulary added;          // not yet prepared
  TokenTemplate token_template;
  std::u32string pad_token = U"<pad>";
  std::u32string eos_token = U"</s>";
};

/// Throws BadFile when the pad or the </s> token is missing or a template's id is no token.
std::unique_ptr<Tokenizer> make_unigram_tokenizer(TokenizerParts parts);

}  // namespace wan
