#include "engine/kept_places.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/same_file.h"
#include "kept/kept_generations.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

std::optional<SavedLatents> load_if_whole(const fs::path& path) {
  try {
    return load_latents(path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Whether a run may write its state to `path` and the one before beside it: nothing is there but what it goes on from.
bool is_free(const fs::path& path, const SavedLatents* resumed) {
  std::error_code none;
  const fs::path earlier = earlier_generation(path);
  const bool is_there = fs::exists(path, none);
  const bool has_earlier = fs::exists(earlier, none);
  if (resumed == nullptr || !(is_there || has_earlier)) return !is_there && !has_earlier;
  if (is_same_file(path, resumed->file))
    return !has_earlier || (resumed->settings && is_kept_by(*resumed->settings, earlier));
  return is_same_file(earlier, resumed->file) && (!is_there || !load_if_whole(path));
}

/// What a run that was killed or interrupted has left at `path`, in a sentence; empty for nothing that it kept on its own.
std::string left_by_another(const fs::path& path) {
  for (const fs::path& file : {path, earlier_generation(path)}) {
    const std::optional<SavedLatents> latents = load_if_whole(file);
    if (!latents || !latents->settings || (latents->finished() && !latents->automatic)) continue;
    const std::string what =
        latents->finished() ? "its finished latents"
                            : fmt::format("{} of {} steps", latents->next_step, latents->settings->steps);
    return format_message("an earlier run has kept {} in {}: {}, or remove it", what, file.string(),
                          go_on_with(file));
  }
  return {};
}

/// is_free(); otherwise adds what is there to `found`, and removes what a killed run has not finished writing.
bool may_take(const fs::path& path, const SavedLatents* resumed, std::vector<fs::path>& found) {
  if (is_free(path, resumed)) return true;
  remove_abandoned(std::span(&path, 1));
  if (std::find(found.begin(), found.end(), path) == found.end()) found.push_back(path);
  return false;
}

/// The first free one of the names for latents of `video`.
fs::path first_free(const fs::path& video, const fs::path& keep_dir, const SavedLatents* resumed,
                    std::vector<fs::path>& found) {
  for (int number = 1;; ++number) {
    fs::path path = latents_of_video(video, keep_dir, number);
    if (may_take(path, resumed, found)) return path;
  }
}

/// Latents kept for the last of the videos whose names differ from this one in the time at their end alone: an unnamed video is
/// called otherwise at each start.
std::optional<fs::path> kept_at_another_time(const fs::path& video, const fs::path& keep_dir) {
  constexpr std::string_view kTime = "_dddddddd_dddddd";
  const auto is_time = [&](std::string_view text) {
    return std::equal(text.begin(), text.end(), kTime.begin(), kTime.end(), [](char c, char pattern) {
      return pattern == 'd' ? c >= '0' && c <= '9' : c == pattern;
    });
  };
  const fs::path latents = latents_of_video(video, keep_dir);
  const std::string stem = video.stem().string();
  if (stem.size() < kTime.size()) return std::nullopt;
  const std::string prefix = stem.substr(0, stem.size() - kTime.size());
  if (!is_time(std::string_view(stem).substr(prefix.size()))) return std::nullopt;
  const std::string suffix = latents.filename().string().substr(stem.size());
  std::optional<fs::path> last;
  try {
    for (const fs::path& path : list_folder(folder_of(latents))) {
      const std::string name = path.filename().string();
      if (name.size() == prefix.size() + kTime.size() + suffix.size() && name.starts_with(prefix) &&
          name.ends_with(suffix) && is_time(std::string_view(name).substr(prefix.size(), kTime.size())))
        last = latents.parent_path() / name;
    }
  } catch (const Error&) {  // whoever writes there is told
  }
  return last;
}

}  // namespace

void check_keeping(const GenerationRequest& request) {
  const double minutes = request.keep_every.count() / 60;
  WAN_CHECK(std::isfinite(minutes) && minutes >= 0, kInvalidArgument,
            "`keep_every` {}: expected minutes, 0 or more; 0 keeps the state only when the run ends early",
            minutes);
  if (request.keep_dir.empty()) return;
  try {
    const FileKind kind = file_kind(request.keep_dir);
    WAN_CHECK(kind == FileKind::kFolder, kInvalidArgument, "it {}; name a folder",
              kind == FileKind::kNothing ? "does not exist" : fmt::format("is {}", file_kind_name(kind)));
    check_writable_target(request.keep_dir / "latents.safetensors");
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "`keep_dir` {}: {}", request.keep_dir.string(), error.what());
  }
}

SavedLatents load_kept_latents(const fs::path& path) {
  try {
    return load_latents(path);
  } catch (const Error& error) {
    const fs::path earlier = earlier_generation(path);
    if (!load_if_whole(earlier)) throw;
    throw Error(error.code(), format_message("{}; the state before it is in {}: {}", error.what(),
                                             earlier.string(), go_on_with(earlier)));
  }
}

LatentsFile choose_latents_file(const GenerationRequest& request, const std::optional<SavedLatents>& resumed,
                                std::vector<std::string>& notices) {
  const SavedLatents* const kept = resumed ? &*resumed : nullptr;
  const SavedLatents* const kept_by_itself = kept != nullptr && kept->automatic ? kept : nullptr;
  const fs::path& video = request.save_file;
  const fs::path& folder = request.keep_dir;
  std::vector<fs::path> found;
  LatentsFile file{.path = request.save_latents, .requested = !request.save_latents.empty()};
  const fs::path own = first_free(video, folder, file.requested ? kept_by_itself : kept, found);
  file.spares.push_back(own);
  if (!folder.empty()) file.spares.push_back(first_free(video, {}, kept_by_itself, found));
  if (!file.requested) {
    file.path = own;
    file.requested = kept != nullptr && !kept->automatic && is_same_file(own, kept->file);
  } else if (!may_take(file.path, kept, found) || !folder.empty()) {
    file.unfinished = own;
  }
  if (kept != nullptr) return file;
  if (const auto path = kept_at_another_time(video, folder)) found.push_back(*path);
  for (const fs::path& path : found) {
    const std::string left = left_by_another(path);
    if (!left.empty()) notices.push_back(left);
  }
  return file;
}

std::vector<fs::path> latents_files(const LatentsFile& file) {
  std::vector<fs::path> files;
  for (const fs::path& path : {file.path, file.of_state(), earlier_generation(file.of_state())})
    if (std::find(files.begin(), files.end(), path) == files.end()) files.push_back(path);
  return files;
}

std::int64_t state_bytes(int slots, const Shape& latent, const Shape& condition, int segments) {
  constexpr std::int64_t kHeader = 8192;
  const std::int64_t values =
      (slots + segments - 1) * latent.elements() + (condition.rank() > 0 ? condition.elements() : 0);
  return kHeader + values * static_cast<std::int64_t>(sizeof(float));
}

void tell_missing_room(const LatentsFile& file, std::int64_t bytes, bool often,
                       std::vector<std::string>& notices) {
  const std::int64_t needed = often ? 3 * bytes : bytes;
  std::vector<fs::path> folders{folder_of(followed(file.of_state()))};
  for (const fs::path& spare : file.spares) folders.push_back(folder_of(followed(spare)));
  try {
    folders.push_back(temporary_folder());
  } catch (const Error&) {  // then it has no room either
  }
  const auto megabytes = [](std::int64_t count) {
    return fmt::format("{:.1f} MB", static_cast<double>(count) * 1e-6);
  };
  std::vector<std::string> told;
  for (const fs::path& folder : folders) {
    const std::optional<std::int64_t> free = free_disk_bytes(folder);
    if (!free || *free >= needed) return;
    const std::string text = fmt::format("{} has {}", folder.string(), megabytes(*free));
    if (std::find(told.begin(), told.end(), text) == told.end()) told.push_back(text);
  }
  notices.push_back(
      format_message("no disk has room to keep the run's state in case that it ends early: that takes {}, {} "
                     "free; free some space, or name a folder on another disk in `keep_dir`",
                     megabytes(needed), fmt::join(told, ", ")));
}

}  // namespace wan
