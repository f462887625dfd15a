#include "base/same_file.h"

#include <sys/stat.h>

#include <map>
#include <optional>
#include <system_error>
#include <tuple>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Device and inode of a file, with an empty name; or of its folder, with the name that the file will have in it.
using Identity = std::tuple<std::uint64_t, std::uint64_t, std::string>;

/// None where there is no such folder, or the system cannot say: then nothing is written there either.
std::optional<Identity> identity_of(const fs::path& path) {
  struct stat info {};
  if (path.empty()) return std::nullopt;
  if (::stat(path.c_str(), &info) == 0) return Identity{info.st_dev, info.st_ino, ""};
  const fs::path file = followed(path.has_filename() ? path : path.parent_path());  // "folder/"
  if (::stat(folder_of(file).c_str(), &info) != 0) return std::nullopt;
  return Identity{info.st_dev, info.st_ino, file.filename().string()};
}

MessagePart shown(const NamedFile& file) {
  return {format_message("{} {}", file.name, file.path.string())};
}

[[noreturn]] void fail_as_one(const NamedFile& file, const NamedFile& other) {
  fail(ErrorCode::kInvalidArgument, "{} would overwrite {}: they are one file; name another", shown(file),
       shown(other));
}

}  // namespace

bool is_same_file(const fs::path& a, const fs::path& b) {
  std::error_code none;
  return fs::equivalent(a, b, none);
}

void check_files_apart(std::span<const NamedFile> written, std::span<const NamedFile> read) {
  std::map<Identity, const NamedFile*> seen;
  for (const NamedFile& file : read)
    if (const auto identity = identity_of(file.path)) seen.emplace(*identity, &file);
  for (const NamedFile& file : written) {
    const auto identity = identity_of(file.path);
    if (!identity) continue;
    const auto [other, is_new] = seen.emplace(*identity, &file);
    if (!is_new) fail_as_one(file, *other->second);
  }
}

void FileUses::add(std::span<const NamedFile> written, std::span<const NamedFile> read) {
  std::map<Identity, NamedFile> writes, reads;
  const auto check_apart = [](const std::map<Identity, NamedFile>& earlier, const Identity& identity,
                              const NamedFile& file) {
    const auto other = earlier.find(identity);
    if (other != earlier.end()) fail_as_one(file, other->second);
  };
  for (const NamedFile& file : written)
    if (const auto identity = identity_of(file.path)) {
      check_apart(written_, *identity, file);
      check_apart(read_, *identity, file);
      writes.emplace(*identity, file);
    }
  for (const NamedFile& file : read)
    if (const auto identity = identity_of(file.path)) {
      const auto other = written_.find(*identity);
      WAN_CHECK(other == written_.end(), kInvalidArgument, "{} is what {} would overwrite; name another",
                shown(file), shown(other->second));
      reads.emplace(*identity, file);
    }
  written_.merge(writes);
  read_.merge(reads);
}

}  // namespace wan
