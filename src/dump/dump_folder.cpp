#include "dump/dump_folder.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/files.h"
#include "json/strict_json.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kManifest = "manifest.json";

std::vector<fs::path> arrays_in(const fs::path& dump) {
  std::vector<fs::path> found;
  for (const fs::path& folder : {dump, dump / "taps"}) {
    if (!is_folder(folder)) continue;
    const std::vector<fs::path> all = list_folder(folder);
    std::copy_if(all.begin(), all.end(), std::back_inserter(found),
                 [](const fs::path& path) { return path.extension() == ".npy"; });
  }
  return found;
}

/// The manifest of an earlier dump; null where there is none.
nlohmann::json read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifest;
  std::error_code none;
  if (!fs::exists(path, none)) return nullptr;
  nlohmann::json manifest;
  try {
    constexpr int kDepth = 6;
    manifest = read_json_file(path, kDepth);
  } catch (const Error&) {
    return nullptr;
  }
  const auto producer = manifest.is_object() ? manifest.find("producer") : manifest.end();
  const bool own = manifest.is_object() && producer != manifest.end() && *producer == "wan.cpp";
  return own ? manifest : nlohmann::json(nullptr);
}

/// A name that stays in its folder.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

void remove_array(const fs::path& folder, const std::string& name) {
  std::error_code none;
  if (is_plain_name(name)) fs::remove(folder / (name + ".npy"), none);
}

}  // namespace

void check_dump_folder(const fs::path& folder) {
  if (!is_folder(folder)) return;
  const std::vector<fs::path> arrays = arrays_in(folder);
  WAN_CHECK(
      arrays.empty() || !read_manifest(folder).is_null(), kInvalidArgument,
      "`dump_dir` {}: it holds .npy files that are not of a dump of this program; name another folder, or "
      "empty it",
      folder.string());
  for (const fs::path& array : arrays) check_replaceable(array);
}

void clear_dump_folder(const fs::path& folder) {
  check_dump_folder(folder);
  const nlohmann::json manifest = read_manifest(folder);
  if (manifest.is_null()) return;
  if (const auto files = manifest.find("files"); files != manifest.end() && files->is_object())
    for (const auto& [name, facts] : files->items()) remove_array(folder, name);
  if (const auto taps = manifest.find("taps"); taps != manifest.end() && taps->is_array())
    for (const auto& name : *taps)
      if (name.is_string()) remove_array(folder / "taps", name.get<std::string>());
  std::error_code none;
  fs::remove(folder / "taps", none);  // stays where others have put something into it
  fs::remove(folder / kManifest, none);
}

}  // namespace wan
