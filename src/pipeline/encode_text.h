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

/// `text_len`: tokens that the transformer takes. A prompt that is too long is cut, and a Notice says so.
EncodedText encode_text(const RunContext& run, const Tokenizer& tokenizer, const Umt5Encoder& encoder,
                        int text_len, bool needs_negative);

}  // namespace wan
