#pragma once
// The tokenizer of a checkpoint, wherever it lies.

#include <filesystem>
#include <memory>

#include "tokenizers/tokenizer.h"

namespace wan {

/// From a folder that holds tokenizer.json or spiece.model, from one of these files, or from what a text encoder's file holds of one
/// ("spiece_model", as in ComfyUI's). Throws BadFile where there is none, and what reading it throws.
std::unique_ptr<Tokenizer> read_tokenizer_part(const std::filesystem::path& path);

}  // namespace wan
