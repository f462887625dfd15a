#include "tasks/checkpoint_files.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/files.h"
#include "layouts/hub_cache.h"
#include "layouts/part_folders.h"
#include "models/wan/config.h"
#include "tasks/known_layouts.h"
#include "tasks/part_choice.h"
#include "tasks/task_table.h"
#include "wan/download.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 2> kExperts = {"low_noise_model", "high_noise_model"};
constexpr std::string_view kAudioEncoder = "wav2vec2-large-xlsr-53-english";
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

void check_folder(const fs::path& folder) {
  if (is_folder(folder)) return;
  const fs::path above = real_path(folder).parent_path();
  fail(ErrorCode::kBadFile, "{} is not a directory; name the folder that holds the checkpoint{}",
       folder.string(), looks_official(above) ? ": " + above.string() : "");
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

/// What may stand in a missing part's place and has another name than the layout's; empty for nothing.
MessagePart parts_by_other_names(const CheckpointFiles& files) {
  MessagePart told;
  const bool lacks_text_encoder = !file_exists(files.text_encoder);
  const bool lacks_vae = !file_exists(files.vae);
  if (!lacks_text_encoder && !lacks_vae) return told;
  const FoundParts found = find_parts(files.root);
  if (lacks_text_encoder)
    for (const FoundPart& part : umt5_encoders(found))
      told.text +=
          format_message("; {} is a {}: name it with `text_encoder`", part.file.string(), part.facts.family);
  if (lacks_vae && files.task != nullptr)
    for (const FoundPart& part : vaes_of_kind(found, files.task->facts().vae))
      told.text += format_message("; {} is a {}: name it with `vae`", part.file.string(), part.facts.family);
  return told;
}

bool is_official(const fs::path& root) {
  return looks_official(root) || (file_exists(root / "config.json") && !is_diffusers_folder(root));
}

/// Parts that are there by the official layout.
CheckpointFiles official_files(const fs::path& root, const Task& task) {
  const TaskFacts& facts = task.facts();
  CheckpointFiles files{.root = root,
                        .name = model_name_of(root),
                        .layout = "official",
                        .task = &task,
                        .transformers = {},
                        .text_encoder = root / "models_t5_umt5-xxl-enc-bf16.pth",
                        .tokenizer = root / "google" / "umt5-xxl",
                        .vae = root / facts.vae_file(),
                        .audio_encoder = facts.takes_sound ? root / kAudioEncoder : fs::path(),
                        .image_encoder = facts.takes_source ? root / kImageEncoderFile : fs::path()};
  for (const std::string_view folder : facts.transformers) files.transformers.push_back(below(root, folder));
  return files;
}

std::vector<std::string> missing_parts(const CheckpointFiles& files) {
  std::vector<fs::path> parts(files.transformers.rbegin(), files.transformers.rend());
  parts.insert(parts.end(),
               {files.text_encoder, files.tokenizer, files.vae, files.audio_encoder, files.image_encoder});
  std::vector<std::string> missing;
  for (const fs::path& part : parts)
    if (!part.empty() && !file_exists(part)) missing.push_back(missing_part(part, files.root));
  return missing;
}

/// Puts what `parts` names in the folder's parts' place; the task follows the transformers.
void take_named_parts(CheckpointFiles& files, const CheckpointParts& parts) {
  if (!parts.transformer.empty() || !parts.high_noise.empty() || !parts.low_noise.empty()) {
    files.transformers = with_named_transformers(std::move(files.transformers), parts);
    files.task = &task_of(files.transformers);
  }
  if (!parts.text_encoder.empty()) files.text_encoder = parts.text_encoder;
  if (!parts.vae.empty()) files.vae = parts.vae;
  if (!parts.tokenizer.empty()) files.tokenizer = parts.tokenizer;
}

CheckpointFiles find_official(const fs::path& root, const CheckpointParts& parts) {
  const Task& task = recognize_or_refuse(root);
  const TaskFacts& facts = task.facts();
  CheckpointFiles files = official_files(root, task);
  take_named_parts(files, parts);
  const std::vector<std::string> missing = missing_parts(files);
  if (missing.empty()) return files;
  refuse_known_layouts(root);
  fail(ErrorCode::kBadFile,
       "{} lacks {}; expected the official layout of {}, models_t5_umt5-xxl-enc-bf16.pth, google/umt5-xxl/"
       "{} and {}{}{}",
       root.string(), fmt::join(missing, ", "),
       facts.transformers.size() == 1
           ? fmt::format("{}: config.json with its safetensors files", facts.checkpoint)
           : "the A14B models: high_noise_model/, low_noise_model/",
       facts.takes_sound    ? fmt::format(", {}/", kAudioEncoder)
       : facts.takes_source ? fmt::format(", {}", kImageEncoderFile)
                            : "",
       files.vae.filename().string(), other_vae(root, facts), parts_by_other_names(files));
}

CheckpointFiles find_diffusers(const fs::path& root, const CheckpointParts& named) {
  DiffusersParts parts = diffusers_parts(root);
  CheckpointFiles files{.root = root,
                        .name = model_name_of(root),
                        .layout = "diffusers",
                        .task = nullptr,
                        .transformers = std::move(parts.transformers),
                        .text_encoder = std::move(parts.text_encoder),
                        .tokenizer = std::move(parts.tokenizer),
                        .vae = std::move(parts.vae),
                        .audio_encoder = {},
                        .image_encoder = {}};
  const auto ask_transformers = [&] {
    if (files.task == nullptr) files.task = &task_of(files.transformers);
    if (files.task->facts().takes_source) files.image_encoder = parts.image_encoder;
  };
  const auto check_parts = [&] {
    const std::vector<std::string> missing = missing_parts(files);
    WAN_CHECK(
        missing.empty(), kBadFile,
        "{} lacks {}; expected the layout of diffusers: transformer/, of A14B models transformer_2/ too, "
        "text_encoder/, tokenizer/{} and vae/{}",
        root.string(), fmt::join(missing, ", "), files.image_encoder.empty() ? "" : ", image_encoder/",
        parts_by_other_names(files));
  };
  take_named_parts(files, named);
  // Whose VAE may stand in a missing one's place, the transformers tell.
  if (!file_exists(files.vae) && std::ranges::all_of(files.transformers, file_exists)) ask_transformers();
  check_parts();
  WAN_CHECK(
      files.transformers.size() == 2 || !names_second_transformer(root), kBadFile,
      "{} lacks transformer_2, the low-noise expert, which its model_index.json names; download it again",
      root.string());
  ask_transformers();
  check_parts();  // an image encoder, of which they tell, may be missing
  return files;
}

/// Files that lie anyhow; what `parts` names is not looked for.
CheckpointFiles find_loose(const fs::path& root, const FoundParts& found, const CheckpointParts& parts) {
  CheckpointFiles files{.root = root,
                        .name = model_name_of(root),
                        .layout = "ComfyUI",
                        .task = nullptr,
                        .transformers = {},
                        .text_encoder = parts.text_encoder,
                        .tokenizer = found.tokenizer,
                        .vae = parts.vae,
                        .audio_encoder = {},
                        .image_encoder = {}};
  const bool both = !parts.high_noise.empty() && !parts.low_noise.empty();
  if (!both && parts.transformer.empty()) files.transformers = choose_transformers(found, root);
  take_named_parts(files, parts);
  if (files.task == nullptr) files.task = &task_of(files.transformers);
  if (files.text_encoder.empty()) files.text_encoder = choose_text_encoder(found, root);
  if (files.vae.empty()) files.vae = choose_vae(found, root, files.task->facts().vae);
  if (files.task->facts().takes_source) files.image_encoder = choose_image_encoder(found, root);
  return files;
}

CheckpointFiles find_in_folder(const fs::path& root, const CheckpointParts& parts) {
  check_folder(root);
  if (is_diffusers_folder(root)) return find_diffusers(root, parts);
  if (!is_official(root)) {
    refuse_known_layouts(root);
    const FoundParts found = find_parts(root);
    if (!found.empty()) return find_loose(root, found, parts);
    WAN_CHECK(found.others.empty(), kBadFile, "{} holds no checkpoint of Wan2.2: {} is a {}", root.string(),
              found.others.front().file.string(),
              found.others.front().facts.family.empty() ? "file of unknown tensors"
                                                        : found.others.front().facts.family);
    WAN_CHECK(found.unreadable.empty(), kBadFile, "{} holds no checkpoint of Wan2.2 that can be read: {}",
              root.string(), found.unreadable.front());
    WAN_CHECK(
        !found.comfyui, kBadFile,
        "{} has ComfyUI's folders, and no file of Wan2.2 is in them: diffusion_models/, text_encoders/, vae/",
        root.string());
  }
  return find_official(root, parts);
}

/// Without a folder.
CheckpointFiles named_files(const CheckpointParts& parts) {
  CheckpointFiles files{.root = {},
                        .name = {},
                        .layout = "files",
                        .task = nullptr,
                        .transformers = with_named_transformers({}, parts),
                        .text_encoder = {},
                        .tokenizer = {},
                        .vae = {},
                        .audio_encoder = {},
                        .image_encoder = {}};
  WAN_CHECK_FIELD(!files.transformers.empty(), kInvalidArgument, "ckpt_dir",
                  "`ckpt_dir` is missing: name the folder of the checkpoint, or its parts: `high_noise` and "
                  "`low_noise`, or `transformer`");
  WAN_CHECK_FIELD(!parts.text_encoder.empty(), kInvalidArgument, "text_encoder",
                  "`text_encoder` is missing: name the umT5 file, or a checkpoint's folder with `ckpt_dir`");
  WAN_CHECK_FIELD(!parts.vae.empty(), kInvalidArgument, "vae",
                  "`vae` is missing: name the VAE's file, or a checkpoint's folder with `ckpt_dir`");
  take_named_parts(files, parts);
  files.name = files.transformers.back().stem().string();
  return files;
}

/// Files are checked where they are named, so that a message says which name is wrong.
void check_named_files(const CheckpointParts& parts) {
  struct Named {
    const char* member;
    MessagePart option;
    const fs::path& path;
  };
  const Named named[] = {{"high_noise", {"`high_noise`"}, parts.high_noise},
                         {"low_noise", {"`low_noise`"}, parts.low_noise},
                         {"transformer", {"`transformer`"}, parts.transformer},
                         {"text_encoder", {"`text_encoder`"}, parts.text_encoder},
                         {"vae", {"`vae`"}, parts.vae},
                         {"tokenizer", {"`tokenizer`"}, parts.tokenizer}};
  for (const auto& [member, option, path] : named)
    WAN_CHECK_FIELD(path.empty() || file_exists(path), kBadFile, member, "{} {} does not exist", option,
                    path.string());
}

}  // namespace

std::vector<fs::path> CheckpointFiles::distillable() const {
  std::vector<fs::path> paths = transformers;
  if (!name.empty()) paths.emplace_back(name);
  return paths;
}

std::string CheckpointFiles::place() const {
  return root.empty() ? transformers.back().string() : root.string();
}

fs::path checkpoint_folder(const fs::path& ckpt_dir) {
  if (file_exists(ckpt_dir)) {
    const std::vector<fs::path> snapshots = snapshots_of(ckpt_dir);
    for (const fs::path& snapshot : snapshots)
      if (looks_official(snapshot) || is_diffusers_folder(snapshot)) return snapshot;
    return snapshots.empty() ? ckpt_dir : snapshots.front();
  }
  if (const auto own = downloaded_folder(ckpt_dir.string())) return *own;
  if (const auto downloaded = downloaded_model(ckpt_dir.string())) return *downloaded;
  fail(ErrorCode::kBadFile, "the checkpoint directory {} does not exist{}", ckpt_dir.string(),
       may_be_repository(ckpt_dir.string())
           ? ", nor has a model of that name been downloaded into the cache of Hugging Face"
           : "");
}

CheckpointFiles find_checkpoint_files(const fs::path& ckpt_dir, const CheckpointParts& parts) {
  check_named_files(parts);
  CheckpointFiles files =
      ckpt_dir.empty() ? named_files(parts) : find_in_folder(checkpoint_folder(ckpt_dir), parts);
  const TaskFacts& facts = files.task->facts();
  const bool needs_more = (facts.takes_sound && files.audio_encoder.empty()) ||
                          (facts.takes_source && files.image_encoder.empty());
  WAN_CHECK_FIELD(!needs_more, kUnsupported, "ckpt_dir",
                  "{} takes another encoder too: name the official folder of {} with `ckpt_dir`", facts.name,
                  facts.checkpoint);
  return files;
}

fs::path find_tokenizer_of(const fs::path& ckpt_dir) {
  const fs::path root = checkpoint_folder(ckpt_dir);
  for (const char* part : {"google/umt5-xxl", "tokenizer"})
    if (is_folder(root / part)) return root / part;
  const CheckpointFiles files = find_in_folder(root, {});
  return files.tokenizer.empty() ? files.text_encoder : files.tokenizer;
}

}  // namespace wan
