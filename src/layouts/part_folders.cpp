#include "layouts/part_folders.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "json/strict_json.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

bool is_there(const fs::path& path) {
  std::error_code unknown;  // what may not be looked at is not there
  return fs::exists(path, unknown);
}

bool is_a_folder(const fs::path& path) {
  std::error_code unknown;
  return fs::is_directory(path, unknown);
}

/// None of a folder that cannot be read.
std::vector<fs::path> entries_of(const fs::path& folder) {
  try {
    return list_folder(folder);
  } catch (const Error&) {
    return {};
  }
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

bool may_hold_tensors(const fs::path& file) {
  constexpr std::array<std::string_view, 4> kExtensions = {".safetensors", ".gguf", ".pth", ".pt"};
  return !is_hidden(file) && !is_a_folder(file) &&
         std::find(kExtensions.begin(), kExtensions.end(), file.extension().string()) != kExtensions.end();
}

/// ComfyUI's folders of models, and their older names.
constexpr std::array<std::string_view, 6> kComfyFolders = {
    "diffusion_models", "unet", "text_encoders", "clip", "vae", "clip_vision"};

/// The folder that holds ComfyUI's folders; empty where there is none.
fs::path comfy_root(const fs::path& folder) {
  for (const char* below : {"split_files", "models", "."}) {
    fs::path root = std::string_view(below) == "." ? folder : folder / below;
    for (const std::string_view part : {"diffusion_models", "unet", "text_encoders"})
      if (is_a_folder(root / part)) return root;
  }
  return {};
}

void add_files(const fs::path& folder, std::vector<fs::path>& files) {
  for (const fs::path& entry : entries_of(folder))
    if (may_hold_tensors(entry)) files.push_back(entry);
}

std::vector<fs::path> files_to_look_into(const fs::path& folder) {
  std::vector<fs::path> files;
  std::vector<fs::path> roots;
  if (const fs::path root = comfy_root(folder); !root.empty())
    for (const std::string_view part : kComfyFolders) roots.push_back(root / part);
  else
    roots = {folder};
  for (const fs::path& root : roots) {
    add_files(root, files);
    for (const fs::path& inner : entries_of(root))
      if (is_a_folder(inner) && !is_hidden(inner)) add_files(inner, files);
  }
  return files;
}

fs::path find_tokenizer(const fs::path& folder) {
  const fs::path comfy = comfy_root(folder);
  for (const fs::path& root : {folder, comfy, comfy.empty() ? comfy : comfy / "text_encoders"}) {
    if (root.empty()) continue;
    for (const char* part : {"google/umt5-xxl", "umt5-xxl", "tokenizer", "."})
      for (const char* file : {"tokenizer.json", "spiece.model"})
        if (is_there(root / part / file)) return root / part;
  }
  return {};
}

void sort_in(FoundPart part, FoundParts& parts) {
  switch (part.facts.kind) {
    case PartKind::kTransformer:
      return parts.transformers.push_back(std::move(part));
    case PartKind::kTextEncoder:
      return parts.text_encoders.push_back(std::move(part));
    case PartKind::kVae:
      return parts.vaes.push_back(std::move(part));
    case PartKind::kImageEncoder:
      return parts.image_encoders.push_back(std::move(part));
    default:
      return parts.others.push_back(std::move(part));
  }
}

}  // namespace

bool is_diffusers_folder(const fs::path& folder) {
  return is_there(folder / "model_index.json") ||
         (is_a_folder(folder / "transformer") && is_a_folder(folder / "vae"));
}

bool names_second_transformer(const fs::path& folder) {
  constexpr int kDepth = 8;
  const fs::path index = folder / "model_index.json";
  if (!is_there(index)) return false;
  const nlohmann::json json = read_json_file(index, kDepth);
  if (!json.is_object() || !json.contains("transformer_2")) return false;
  const nlohmann::json& names = json["transformer_2"];
  return names.is_array() && !names.empty() && names[0].is_string();
}

DiffusersParts diffusers_parts(const fs::path& folder) {
  DiffusersParts parts{.transformers = {},
                       .text_encoder = folder / "text_encoder",
                       .tokenizer = folder / "tokenizer",
                       .vae = folder / "vae",
                       .image_encoder = folder / "image_encoder"};
  if (is_a_folder(folder / "transformer_2")) parts.transformers.push_back(folder / "transformer_2");
  parts.transformers.push_back(folder / "transformer");
  return parts;
}

FoundParts find_parts(const fs::path& folder) {
  FoundParts parts;
  for (const fs::path& file : files_to_look_into(folder)) {
    try {
      const Checkpoint checkpoint = Checkpoint::open(file);
      sort_in({file, recognize_part(checkpoint)}, parts);
    } catch (const Error& error) {
      parts.unreadable.emplace_back(error.what());
    }
  }
  parts.tokenizer = find_tokenizer(folder);
  parts.comfyui = !comfy_root(folder).empty();
  return parts;
}

}  // namespace wan
