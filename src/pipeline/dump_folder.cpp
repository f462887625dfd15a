#include "pipeline/dump_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "weights/strict_json.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kManifest = "manifest.json";

bool holds_arrays(const fs::path& folder) {
  std::error_code none;
  return std::any_of(fs::directory_iterator(folder, none), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) { return entry.path().extension() == ".npy"; });
}

/// The manifest of an earlier dump; null where there is none.
nlohmann::json read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifest;
  std::error_code none;
  if (!fs::exists(path, none)) return nullptr;
  nlohmann::json manifest;
  try {
    const MappedFile file(path);
    constexpr int kDepth = 6;
    manifest = parse_strict_json(file.bytes(), path.string(), kDepth);
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
  std::error_code none;
  if (!fs::is_directory(folder, none)) return;
  const bool mixes =
      read_manifest(folder).is_null() && (holds_arrays(folder) || holds_arrays(folder / "taps"));
  WAN_CHECK(!mixes, kInvalidArgument,
            "--dump {}: it holds .npy files that are not of a dump of this program; name another folder, or "
            "empty it",
            folder.string());
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
