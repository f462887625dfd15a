#pragma once
// Where the parts of a checkpoint lie in the folders of diffusers and of ComfyUI.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "layouts/part.h"

namespace wan {

/// Whether the folder is a saved pipeline of diffusers: model_index.json, or transformer/ and vae/.
bool is_diffusers_folder(const std::filesystem::path& folder);

/// Whether its model_index.json names a second transformer, the low-noise expert.
bool names_second_transformer(const std::filesystem::path& folder);

struct DiffusersParts {
  std::vector<std::filesystem::path>
      transformers;  // low noise (transformer_2/), high noise (transformer/); or the only one
  std::filesystem::path text_encoder, tokenizer, vae;
  std::filesystem::path image_encoder;  // of pipelines that look at a picture
};

/// What such a folder has by its layout, there or not.
DiffusersParts diffusers_parts(const std::filesystem::path& folder);

/// A file that holds a model, and what it is.
struct FoundPart {
  std::filesystem::path file;
  PartFacts facts;
};

struct FoundParts {
  std::vector<FoundPart> transformers, text_encoders, vaes, image_encoders;
  std::vector<FoundPart> others;        // LoRAs, other models
  std::vector<std::string> unreadable;  // why each of the files that cannot be read cannot
  std::filesystem::path tokenizer;      // a folder; empty where there is none
  bool comfyui = false;                 // whether there are ComfyUI's folders
  bool empty() const { return transformers.empty() && text_encoders.empty() && vaes.empty(); }
};

/// Looks into every file of ComfyUI's folders below `folder` (split_files/, models/ or itself: diffusion_models/, unet/,
/// text_encoders/, clip/, vae/, clip_vision/), or where there are none, of itself and its folders. Files of other kinds are left aside.
FoundParts find_parts(const std::filesystem::path& folder);

}  // namespace wan
