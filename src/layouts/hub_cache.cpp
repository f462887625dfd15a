#include "layouts/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kModels = "models--";

/// None of a folder that cannot be read.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code unknown;
  if (!fs::is_directory(folder, unknown)) return found;
  try {
    for (const fs::path& entry : list_folder(folder))
      if (fs::is_directory(entry, unknown)) found.push_back(entry);
  } catch (const Error&) {
    return {};
  }
  return found;
}

bool holds_anything(const fs::path& folder) {
  try {
    return !list_folder(folder).empty();
  } catch (const Error&) {
    return false;
  }
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// "ORG--NAME" as "ORG/NAME".
std::string readable(std::string name) {
  const std::size_t dashes = name.find("--");
  if (dashes != std::string::npos) name.replace(dashes, 2, "/");
  return name;
}

}  // namespace

std::vector<fs::path> snapshots_of(const fs::path& repository) {
  std::vector<fs::path> snapshots = folders_in(repository / "snapshots");
  std::erase_if(snapshots, [](const fs::path& snapshot) { return !holds_anything(snapshot); });
  std::string commit;
  std::ifstream(repository / "refs" / "main") >> commit;
  std::stable_partition(snapshots.begin(), snapshots.end(),
                        [&](const fs::path& snapshot) { return snapshot.filename() == commit; });
  return snapshots;
}

std::vector<fs::path> hub_caches() {
  std::vector<fs::path> caches;
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) caches.emplace_back(cache);
  if (const std::string home = environment("HF_HOME"); !home.empty())
    caches.push_back(fs::path(home) / "hub");
  const std::string cache = environment("XDG_CACHE_HOME");
  const std::string home = environment("HOME");
  if (!cache.empty()) caches.push_back(fs::path(cache) / "huggingface" / "hub");
  if (!home.empty()) caches.push_back(fs::path(home) / ".cache" / "huggingface" / "hub");
  return caches;
}

bool may_be_repository(const std::string& name) {
  return !name.empty() && std::count(name.begin(), name.end(), '/') <= 1 && !name.starts_with('/') &&
         !name.ends_with('/') && !name.starts_with('.');
}

std::optional<fs::path> downloaded_model(const std::string& name) {
  if (!may_be_repository(name)) return std::nullopt;
  for (const fs::path& cache : hub_caches())
    for (const fs::path& repository : folders_in(cache)) {
      const std::string folder = repository.filename().string();
      if (!folder.starts_with(kModels)) continue;
      const std::string whole = readable(folder.substr(kModels.size()));
      if (whole != name && !whole.ends_with("/" + name)) continue;
      const std::vector<fs::path> snapshots = snapshots_of(repository);
      if (!snapshots.empty()) return snapshots.front();
    }
  return std::nullopt;
}

std::string repository_of(const fs::path& folder) {
  fs::path path = folder.has_filename() ? folder : folder.parent_path();
  if (path.parent_path().filename() == "snapshots") path = path.parent_path().parent_path();
  const std::string name = path.filename().string();
  return name.starts_with(kModels) ? readable(name.substr(kModels.size())) : std::string();
}

std::string model_name_of(const fs::path& folder) {
  const fs::path real = real_path(folder);
  const std::string repository = repository_of(real);
  return repository.empty() ? real.filename().string() : repository.substr(repository.find('/') + 1);
}

}  // namespace wan
