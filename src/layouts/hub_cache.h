#pragma once
// Hugging Face's cache of downloads: models--ORG--NAME/{blobs,refs,snapshots}, whose snapshots' files are links.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace wan {

/// The snapshots of a repository's folder in a cache, the one that its main branch stands for first; those that hold anything alone.
/// Empty for another folder.
std::vector<std::filesystem::path> snapshots_of(const std::filesystem::path& repository);

/// The caches that Hugging Face's tools would use: $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub; there or not.
std::vector<std::filesystem::path> hub_caches();

/// Whether the text can be "ORG/NAME" or "NAME".
bool may_be_repository(const std::string& name);

/// The folder of a model that is named as "ORG/NAME" or by NAME alone in one of the caches: its snapshot. Nothing where it is none of these or is
/// not there.
std::optional<std::filesystem::path> downloaded_model(const std::string& name);

/// The repository's name, "ORG/NAME", of a folder in a cache: of a snapshot, or of what holds them; empty for another one.
std::string repository_of(const std::filesystem::path& folder);

/// What a model is called: NAME of a folder in a cache, links followed, otherwise the folder's own name.
std::string model_name_of(const std::filesystem::path& folder);

}  // namespace wan
