#include "engine/checkpoint_files.h"

#include <fmt/ranges.h>

#include <vector>

#include "base/error.h"

namespace wan {

namespace fs = std::filesystem;

CheckpointFiles find_checkpoint_files(const fs::path& ckpt_dir) {
  WAN_CHECK(fs::exists(ckpt_dir), kBadFile, "the checkpoint directory {} does not exist", ckpt_dir.string());
  WAN_CHECK(fs::is_directory(ckpt_dir), kBadFile,
            "{} is not a directory; name the folder that holds the checkpoint", ckpt_dir.string());
  CheckpointFiles files{.root = ckpt_dir,
                        .experts = {ckpt_dir / "low_noise_model", ckpt_dir / "high_noise_model"},
                        .text_encoder = ckpt_dir / "models_t5_umt5-xxl-enc-bf16.pth",
                        .tokenizer = ckpt_dir / "google" / "umt5-xxl",
                        .vae = ckpt_dir / "Wan2.1_VAE.pth"};
  std::vector<std::string> missing;
  for (const fs::path& part :
       {files.experts[1], files.experts[0], files.text_encoder, files.tokenizer, files.vae})
    if (!fs::exists(part)) missing.push_back(part.lexically_relative(ckpt_dir).string());
  WAN_CHECK(
      missing.empty(), kBadFile,
      "{} lacks {}; expected the official layout of Wan2.2-T2V-A14B: high_noise_model/, low_noise_model/, "
      "models_t5_umt5-xxl-enc-bf16.pth, google/umt5-xxl/ and Wan2.1_VAE.pth",
      ckpt_dir.string(), fmt::join(missing, ", "));
  return files;
}

}  // namespace wan
