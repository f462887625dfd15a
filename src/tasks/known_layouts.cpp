#include "tasks/known_layouts.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "json/strict_json.h"
#include "layouts/hub_cache.h"
#include "layouts/part_folders.h"
#include "tasks/task_table.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDownload =
    "download an official checkpoint: Wan-AI/Wan2.2-T2V-A14B, Wan-AI/Wan2.2-I2V-A14B, "
    "Wan-AI/Wan2.2-TI2V-5B or Wan-AI/Wan2.2-S2V-14B";

bool is_there(const fs::path& path) {
  std::error_code unknown;  // what may not be looked at is not there
  return fs::exists(path, unknown);
}

/// In the order of their names; none of a folder that cannot be read.
std::vector<fs::path> entries_of(const fs::path& folder) {
  try {
    return list_folder(folder);
  } catch (const Error&) {
    return {};
  }
}

bool is_a_folder(const fs::path& path) {
  std::error_code unknown;
  return fs::is_directory(path, unknown);
}

std::vector<fs::path> official_among(std::vector<fs::path> folders) {
  std::erase_if(folders, [](const fs::path& folder) { return !looks_official(folder); });
  return folders;
}

/// "A", "A or B", "A, B, C ..."
std::string choices(const std::vector<fs::path>& folders) {
  constexpr std::size_t kMost = 3;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(folders.size(), kMost); ++i) names.push_back(folders[i].string());
  return fmt::format("{}{}", fmt::join(names, folders.size() == 2 ? " or " : ", "),
                     folders.size() > kMost ? " ..." : "");
}

/// A word of the folder's config.json; empty where there is none.
std::string word_of_config(const fs::path& folder, const char* key) {
  constexpr int kDepth = 8;
  try {
    return read_json_file(folder / "config.json", kDepth).value(key, "");
  } catch (const std::exception&) {
    return {};
  }
}

/// Its models are told by their config.json, at the top as TI2V-5B's is.
void refuse_other_models(const fs::path& folder) {
  if (!is_there(folder / "config.json") || !is_there(folder / "Wan2.1_VAE.pth")) return;
  const std::string type = word_of_config(folder, "model_type");
  for (const char* wan21 : {"t2v", "i2v", "flf2v", "vace"})
    WAN_CHECK(type != wan21, kUnsupported,
              "{} is a checkpoint of Wan2.1 (type \"{}\"), and Wan2.2 is what runs here; {}", folder.string(),
              type, kDownload);
}

/// The snapshots of a repository; without the unofficial ones where there are others.
std::vector<fs::path> official_snapshots_of(const fs::path& repository) {
  return official_among(snapshots_of(repository));
}

void refuse_caches(const fs::path& folder) {
  WAN_CHECK(!is_a_folder(folder / "snapshots") || !snapshots_of(folder).empty(), kBadFile,
            "{} is Hugging Face's cache of a repository, and nothing of it is there yet; download it again",
            folder.string());
  for (const fs::path& hub : {folder, folder / "hub"}) {
    std::vector<fs::path> found;
    bool is_cache = false;
    for (const fs::path& repository : entries_of(hub)) {
      if (!repository.filename().string().starts_with("models--")) continue;
      is_cache = true;
      const auto official = official_snapshots_of(repository);
      if (!official.empty()) found.push_back(official[0]);
    }
    WAN_CHECK(found.empty(), kBadFile, "{} is Hugging Face's cache; name the snapshot of a model in it: {}",
              folder.string(), choices(found));
    WAN_CHECK(!is_cache, kBadFile,
              "{} is Hugging Face's cache, and holds no official checkpoint of Wan2.2; {}", folder.string(),
              kDownload);
  }
}

/// One step too high or too low.
void refuse_neighbours(const fs::path& folder) {
  const std::vector<fs::path> inside = official_among(entries_of(folder));
  WAN_CHECK(inside.empty(), kBadFile, "{} holds {}, and is none itself; name {}", folder.string(),
            inside.size() == 1 ? "a checkpoint" : "checkpoints", choices(inside));
  std::error_code unknown;
  fs::path above = fs::weakly_canonical(folder, unknown);
  constexpr int kMostSteps = 2;  // from google/umt5-xxl
  for (int step = 0; step < kMostSteps && above.has_relative_path(); ++step) {
    above = above.parent_path();
    WAN_CHECK(!looks_official(above) && !is_diffusers_folder(above), kBadFile,
              "{} is a part of a checkpoint; name the whole: {}", folder.string(), above.string());
  }
}

}  // namespace

bool looks_official(const fs::path& folder) {
  return is_a_folder(folder / "high_noise_model") || is_a_folder(folder / "low_noise_model") ||
         is_there(folder / "models_t5_umt5-xxl-enc-bf16.pth");
}

void refuse_known_layouts(const fs::path& folder) {
  refuse_other_models(folder);
  if (looks_official(folder)) return;
  refuse_caches(folder);
  refuse_neighbours(folder);
}

}  // namespace wan
