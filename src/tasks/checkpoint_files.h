#pragma once
// Where the parts of a checkpoint lie, in whichever layout, and which task it is for.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/task.h"
#include "wan/engine.h"

namespace wan {

/// Of the official layout, in the checkpoint's folder.
inline constexpr std::string_view kImageEncoderFile =
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth";

struct CheckpointFiles {
  std::filesystem::path root;  // the checkpoint's folder; empty where files alone are given
  std::string name;            // what the model is called: its folder's name, or its repository's in a cache
  std::string layout;          // "official", "diffusers", "ComfyUI", "files"
  const Task* task;            // that it is for
  /// By Expert: low noise, high noise; or the only one. Folders or files.
  std::vector<std::filesystem::path> transformers;
  std::filesystem::path text_encoder;
  /// A folder or file; empty: what the text encoder's file holds.
  std::filesystem::path tokenizer;
  std::filesystem::path vae;
  /// wav2vec2-large-xlsr-53-english, of tasks that take sound; otherwise empty.
  std::filesystem::path audio_encoder;
  /// kImageEncoderFile, diffusers' image_encoder/ or ComfyUI's clip_vision/, of tasks whose transformers attend to an image; otherwise empty.
  std::filesystem::path image_encoder;

  /// Whose names may tell what the model was distilled to: the transformers, and the folder.
  std::vector<std::filesystem::path> distillable() const;
  /// The folder, or the first of the files, for messages.
  std::string place() const;
};

/// The folder that `ckpt_dir` stands for: itself, the snapshot of a repository in Hugging Face's cache, or of a model that has been downloaded
/// there under this name. Throws BadFile where it is none of these.
std::filesystem::path checkpoint_folder(const std::filesystem::path& ckpt_dir);

/// Finds the parts in the official layout, diffusers' or ComfyUI's, `parts` in place of the folder's own; and the task by the transformers:
/// their config.json in the official layout, otherwise their tensors. Throws BadFile, listing every part that is missing, Unsupported for
/// a checkpoint that no task of this version is for, naming what it is, and what refuse_known_layouts() throws for another folder.
CheckpointFiles find_checkpoint_files(const std::filesystem::path& ckpt_dir,
                                      const CheckpointParts& parts = {});

/// The tokenizer of such a folder alone, without a look at its models where it does not lie in one. Throws as
/// find_checkpoint_files().
std::filesystem::path find_tokenizer_of(const std::filesystem::path& ckpt_dir);

}  // namespace wan
