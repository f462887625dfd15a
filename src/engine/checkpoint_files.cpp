#include "engine/checkpoint_files.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "engine/known_layouts.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kVae21 = "Wan2.1_VAE.pth";  // of the A14B models
constexpr const char* kVae22 = "Wan2.2_VAE.pth";  // of TI2V-5B

void check_folder(const fs::path& ckpt_dir) {
  std::error_code error;
  const fs::file_type type = fs::status(ckpt_dir, error).type();
  WAN_CHECK(type != fs::file_type::not_found, kBadFile, "the checkpoint directory {} does not exist",
            ckpt_dir.string());
  WAN_CHECK(type != fs::file_type::none, kBadFile,
            "cannot look into the checkpoint directory {}: {}; check the path", ckpt_dir.string(),
            error.message());
  if (type == fs::file_type::directory) return;
  const fs::path folder = fs::absolute(ckpt_dir, error).parent_path();
  fail(ErrorCode::kBadFile, "{} is not a directory; name the folder that holds the checkpoint{}",
       ckpt_dir.string(), looks_official(folder) ? ": " + folder.string() : "");
}

/// "high_noise_model", or "Wan2.1_VAE.pth (a link to nothing)" as an unfinished download leaves it.
std::string missing_part(const fs::path& part, const fs::path& ckpt_dir) {
  std::error_code error;
  return part.lexically_relative(ckpt_dir).string() +
         (fs::is_symlink(part, error) ? " (a link to nothing: download it again)" : "");
}

}  // namespace

CheckpointFiles find_checkpoint_files(const fs::path& ckpt_dir) {
  check_folder(ckpt_dir);
  std::error_code unknown;  // what may not be looked at is missing
  const auto exists = [&](const fs::path& path) { return fs::exists(path, unknown); };
  // Of TI2V-5B lies at the top what the A14B models have in a folder for each expert.
  const bool single = exists(ckpt_dir / "config.json");
  CheckpointFiles files{.root = ckpt_dir,
                        .transformers = {ckpt_dir / "low_noise_model", ckpt_dir / "high_noise_model"},
                        .text_encoder = ckpt_dir / "models_t5_umt5-xxl-enc-bf16.pth",
                        .tokenizer = ckpt_dir / "google" / "umt5-xxl",
                        .vae = ckpt_dir / (single ? kVae22 : kVae21)};
  if (single) files.transformers = {ckpt_dir};
  std::vector<fs::path> parts(files.transformers.rbegin(), files.transformers.rend());
  parts.insert(parts.end(), {files.text_encoder, files.tokenizer, files.vae});
  std::vector<std::string> missing;
  for (const fs::path& part : parts)
    if (!exists(part)) missing.push_back(missing_part(part, ckpt_dir));
  if (missing.empty()) return files;
  refuse_known_layouts(ckpt_dir);
  const char* other_vae = single ? kVae21 : kVae22;
  fail(ErrorCode::kBadFile,
       "{} lacks {}; expected the official layout of {}, models_t5_umt5-xxl-enc-bf16.pth, google/umt5-xxl/ "
       "and {}{}",
       ckpt_dir.string(), fmt::join(missing, ", "),
       single ? "Wan2.2-TI2V-5B: config.json with its safetensors files"
              : "the A14B models: high_noise_model/, low_noise_model/",
       files.vae.filename().string(),
       !exists(files.vae) && exists(ckpt_dir / other_vae)
           ? fmt::format("; {} is the VAE of {}", other_vae, single ? "the A14B models" : "Wan2.2-TI2V-5B")
           : "");
}

}  // namespace wan
