#include "engine/checkpoint_files.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace fs = std::filesystem;

CheckpointFiles find_checkpoint_files(const fs::path& ckpt_dir) {
  WAN_CHECK(file_exists(ckpt_dir), kBadFile, "the checkpoint directory {} does not exist", ckpt_dir.string());
  WAN_CHECK(is_folder(ckpt_dir), kBadFile, "{} is not a directory; name the folder that holds the checkpoint",
            ckpt_dir.string());
  // Of TI2V-5B lies at the top what the A14B models have in a folder for each expert.
  const bool single = file_exists(ckpt_dir / "config.json");
  CheckpointFiles files{.root = ckpt_dir,
                        .transformers = {ckpt_dir / "low_noise_model", ckpt_dir / "high_noise_model"},
                        .text_encoder = ckpt_dir / "models_t5_umt5-xxl-enc-bf16.pth",
                        .tokenizer = ckpt_dir / "google" / "umt5-xxl",
                        .vae = ckpt_dir / (single ? "Wan2.2_VAE.pth" : "Wan2.1_VAE.pth")};
  if (single) files.transformers = {ckpt_dir};
  std::vector<fs::path> parts(files.transformers.rbegin(), files.transformers.rend());
  parts.insert(parts.end(), {files.text_encoder, files.tokenizer, files.vae});
  std::vector<std::string> missing;
  for (const fs::path& part : parts)
    if (!file_exists(part)) missing.push_back(part.lexically_relative(ckpt_dir).string());
  WAN_CHECK(missing.empty(), kBadFile,
            "{} lacks {}; expected the official layout of {}, models_t5_umt5-xxl-enc-bf16.pth, "
            "google/umt5-xxl/ and {}",
            ckpt_dir.string(), fmt::join(missing, ", "),
            single ? "Wan2.2-TI2V-5B: config.json with its safetensors files"
                   : "the A14B models: high_noise_model/, low_noise_model/",
            files.vae.filename().string());
  return files;
}

}  // namespace wan
