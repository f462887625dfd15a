#pragma once
// Reading the files that describe a tokenizer into its parts.

#include <string_view>

#include "tokenizers/tokenizer_config.h"
#include "tokenizers/unigram_tokenizer.h"

namespace wan {

/// The parts in a tokenizer.json. Throws BadFile where it is malformed, Unsupported where it asks for a
/// component that is not here, naming it.
TokenizerParts read_tokenizer_json(std::string_view json);

/// The parts that transformers makes of a spiece.model: the model's unigram pieces and character map; its
/// control and user-defined pieces as added tokens; byte fallback off, whatever the model says. Throws
/// BadFile where it is malformed, Unsupported where it is no unigram model.
TokenizerParts read_spiece_model(std::string_view bytes, const SpieceOptions& options);

}  // namespace wan
