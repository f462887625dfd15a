// Where downloaded models are: the one rule that downloads and the names of checkpoints go by.

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "download/hub.h"
#include "wan/download.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Empty where the environment names none.
fs::path models_folder() {
  if (const std::string own = environment("WAN_MODELS"); !own.empty()) return own;
  if (const std::string data = environment("XDG_DATA_HOME"); data.starts_with('/'))
    return fs::path(data) / "wan" / "models";
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".local" / "share" / "wan" / "models";
}

}  // namespace

fs::path model_folder(const std::string& repository) {
  const fs::path all = models_folder();
  WAN_CHECK_FIELD(!all.empty(), kInvalidArgument, "local_dir",
                  "there is no home folder for models: name a folder in WAN_MODELS or as `local_dir`");
  return all / repository;
}

std::optional<fs::path> downloaded_folder(const std::string& name) {
  const fs::path all = models_folder();
  std::error_code unknown;
  const auto is_there = [&](const fs::path& folder) { return fs::is_directory(folder, unknown); };
  if (all.empty() || !is_there(all)) return std::nullopt;
  for (const PublishedModel& model : published_models())
    if (model.name == name && is_there(all / model.repository)) return all / model.repository;
  if (is_repository_name(name))
    return is_there(all / name) ? std::optional<fs::path>(all / name) : std::nullopt;
  if (!is_repository_name("org/" + name)) return std::nullopt;
  for (const fs::path& organisation : list_folder(all))
    if (is_there(organisation / name)) return organisation / name;
  return std::nullopt;
}

}  // namespace wan
