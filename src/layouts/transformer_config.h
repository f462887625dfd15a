#pragma once
// What a transformer's config.json says, in the official keys, whoever wrote it.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace wan {

struct TransformerConfigText {
  std::string json;   // the official keys
  std::string where;  // the file, for messages
};

/// Of the config.json beside a transformer's file, or in its folder: the official one as it is, diffusers' (WanTransformer3DModel ...)
/// with its keys translated. `model_type` is what it is by its tensors: diffusers' does not say so. Nothing where there is no config.json, or
/// where it is another program's. Throws BadFile for one that is malformed or contradicts itself.
std::optional<TransformerConfigText> transformer_config_of(const std::filesystem::path& transformer,
                                                           std::string_view model_type);

}  // namespace wan
