#pragma once
// The text phase: prompts to context vectors.

#include "models/umt5/umt5_encoder.h"
#include "settings/run_context.h"
#include "tokenizers/tokenizer.h"

namespace wan {

/// Context vectors [tokens, text_dim] f32 of each guidance branch, on the transformers' device.
struct EncodedText {
  Tensor prompt;
  Tensor negative;  // empty where no step needs it
};

/// What the transformers take.
struct TextSize {
  std::int64_t tokens;  // at most
  std::int64_t dim;
};

/// Rank 0 encodes, and gives the others what it has made; `encoder` is its own. A prompt that is too long is cut, and a Notice says so.
EncodedText encode_text(const RunContext& run, const Tokenizer& tokenizer, const Umt5Encoder* encoder,
                        const TextSize& size, bool needs_negative);

}  // namespace wan
