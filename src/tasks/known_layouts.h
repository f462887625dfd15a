#pragma once
// Folders that people have and that are no checkpoint in any layout that is read.

#include <filesystem>

namespace wan {

/// Throws where it knows what `folder` is instead, saying what and which folder to name or download: Unsupported for other models
/// (Wan2.1), BadFile for the wrong folder (a part of a checkpoint, what holds checkpoints, a whole cache of Hugging Face). Returns where it
/// does not.
void refuse_known_layouts(const std::filesystem::path& folder);

/// Whether the folder has the official layout, complete or not.
bool looks_official(const std::filesystem::path& folder);

}  // namespace wan
