#pragma once
// Which of the files that were found or named are a checkpoint's parts.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "layouts/part_folders.h"
#include "tasks/task.h"
#include "wan/engine.h"

namespace wan {

/// The transformers of a folder of ComfyUI's files: two experts that their names tell apart, low noise first, or the only one. Throws
/// BadFile where there are others to choose from or none, Unsupported where what there is belongs to no task, naming it.
std::vector<std::filesystem::path> choose_transformers(const FoundParts& found,
                                                       const std::filesystem::path& folder);

/// Those that a checkpoint can take, by their tensors.
std::vector<FoundPart> umt5_encoders(const FoundParts& found);
std::vector<FoundPart> vaes_of_kind(const FoundParts& found, VaeKind kind);

/// The only file of `candidates`, of VAEs the only one of `kind`. Throws BadFile, saying what to do, where there is none or more than one.
std::filesystem::path choose_text_encoder(const FoundParts& found, const std::filesystem::path& folder);
std::filesystem::path choose_vae(const FoundParts& found, const std::filesystem::path& folder, VaeKind kind);
std::filesystem::path choose_image_encoder(const FoundParts& found, const std::filesystem::path& folder);

/// `transformers` with those that `parts` names in their places. Throws InvalidArgument for names that do not go together: one expert
/// without the other, an expert beside a transformer.
std::vector<std::filesystem::path> with_named_transformers(std::vector<std::filesystem::path> transformers,
                                                           const CheckpointParts& parts);

/// The task that the transformers are for, by their tensors. Throws BadFile for two that are exchanged (by their names), are one
/// file or of different models, and Unsupported for those of no task, naming what they are.
const Task& task_of(std::span<const std::filesystem::path> transformers);

}  // namespace wan
