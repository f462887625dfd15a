#include "tasks/checkpoint_files.h"

#include <fmt/ranges.h>

#include <array>

#include "base/error.h"
#include "base/files.h"
#include "models/wan/config.h"
#include "tasks/known_layouts.h"
#include "tasks/task_table.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 2> kExperts = {"low_noise_model", "high_noise_model"};
constexpr std::string_view kAudioEncoder = "wav2vec2-large-xlsr-53-english";
constexpr std::string_view kImageEncoder = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth";
constexpr std::array<std::string_view, 1> kRoot = {"."};

fs::path below(const fs::path& root, std::string_view folder) {
  return folder == "." ? root : root / folder;
}

/// The task that the transformers are for; where there is none yet to ask, the first one of their layout.
const Task& recognize_task(const fs::path& root) {
  const bool single = file_exists(root / "config.json");
  const std::span<const std::string_view> folders =
      single ? std::span<const std::string_view>(kRoot) : std::span<const std::string_view>(kExperts);
  for (const std::string_view folder : folders) {
    const fs::path config = below(root, folder) / "config.json";
    if (!file_exists(config)) continue;
    const std::string type = read_wan_config(config).model_type;
    const Task* task = find_task_of(type, folders);
    WAN_CHECK(task != nullptr, kUnsupported, "{} holds {} transformer{} of type \"{}\"; this version has {}",
              root.string(), folders.size(), folders.size() == 1 ? "" : "s", type, task_names());
    return *task;
  }
  return find_task("t2v-A14B");
}

/// recognize_task(), or what is known of the layout.
const Task& recognize_or_refuse(const fs::path& root) {
  try {
    return recognize_task(root);
  } catch (const Error&) {
    refuse_known_layouts(root);
    throw;
  }
}

void check_folder(const fs::path& ckpt_dir) {
  WAN_CHECK(file_exists(ckpt_dir), kBadFile, "the checkpoint directory {} does not exist", ckpt_dir.string());
  if (is_folder(ckpt_dir)) return;
  const fs::path folder = real_path(ckpt_dir).parent_path();
  fail(ErrorCode::kBadFile, "{} is not a directory; name the folder that holds the checkpoint{}",
       ckpt_dir.string(), looks_official(folder) ? ": " + folder.string() : "");
}

/// Whose VAE lies where the task's is missing, for a message; empty for nobody's.
std::string other_vae(const fs::path& ckpt_dir, const TaskFacts& facts) {
  if (file_exists(ckpt_dir / facts.vae_file())) return "";
  const VaeKind other = facts.vae == VaeKind::kVae21 ? VaeKind::kVae22 : VaeKind::kVae21;
  if (!file_exists(ckpt_dir / vae_file_name(other))) return "";
  std::vector<std::string_view> checkpoints;
  for (const Task* task : all_tasks())
    if (task->facts().vae == other) checkpoints.push_back(task->facts().checkpoint);
  return fmt::format("; {} is the VAE of {}", vae_file_name(other), fmt::join(checkpoints, " and "));
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
  const Task& task = recognize_or_refuse(ckpt_dir);
  const TaskFacts& facts = task.facts();
  CheckpointFiles files{.root = ckpt_dir,
                        .task = &task,
                        .transformers = {},
                        .text_encoder = ckpt_dir / "models_t5_umt5-xxl-enc-bf16.pth",
                        .tokenizer = ckpt_dir / "google" / "umt5-xxl",
                        .vae = ckpt_dir / facts.vae_file(),
                        .audio_encoder = facts.takes_sound ? ckpt_dir / kAudioEncoder : fs::path(),
                        .image_encoder = facts.takes_source ? ckpt_dir / kImageEncoder : fs::path()};
  for (const std::string_view folder : facts.transformers)
    files.transformers.push_back(below(ckpt_dir, folder));
  std::vector<fs::path> parts(files.transformers.rbegin(), files.transformers.rend());
  parts.insert(parts.end(), {files.text_encoder, files.tokenizer, files.vae});
  if (facts.takes_sound) parts.push_back(files.audio_encoder);
  if (facts.takes_source) parts.push_back(files.image_encoder);
  std::vector<std::string> missing;
  for (const fs::path& part : parts)
    if (!file_exists(part)) missing.push_back(missing_part(part, ckpt_dir));
  if (missing.empty()) return files;
  refuse_known_layouts(ckpt_dir);
  fail(ErrorCode::kBadFile,
       "{} lacks {}; expected the official layout of {}, models_t5_umt5-xxl-enc-bf16.pth, google/umt5-xxl/"
       "{} and {}{}",
       ckpt_dir.string(), fmt::join(missing, ", "),
       facts.transformers.size() == 1
           ? fmt::format("{}: config.json with its safetensors files", facts.checkpoint)
           : "the A14B models: high_noise_model/, low_noise_model/",
       facts.takes_sound    ? fmt::format(", {}/", kAudioEncoder)
       : facts.takes_source ? fmt::format(", {}", kImageEncoder)
                            : "",
       files.vae.filename().string(), other_vae(ckpt_dir, facts));
}

}  // namespace wan
