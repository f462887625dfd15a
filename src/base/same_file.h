#pragma once
// Whether paths mean one file, however they are spelled: relative, through links, or as two names of one inode.

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <tuple>

#include "base/error.h"

namespace wan {

/// Whether both exist and are one file. False where the system cannot say.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b);

/// A file under the words that a person knows it by, such as the member that names it: "`image`".
struct NamedFile {
  MessagePart name;
  std::filesystem::path path;
};

/// Throws InvalidArgument, naming both, where two of `written` mean one file, or one of `written` and one of `read`. Files
/// that do not exist yet count: they are one where they would be made under one name in one folder.
void check_files_apart(std::span<const NamedFile> written, std::span<const NamedFile> read);

/// What several runs write and read.
class FileUses {
 public:
  /// The files of one more run. Throws InvalidArgument, naming both, where it writes what an earlier one writes or reads, or reads
  /// what an earlier one writes, and keeps none of them then. Within a run files may be the same.
  void add(std::span<const NamedFile> written, std::span<const NamedFile> read);

 private:
  /// What the system knows a file by: device, inode and, for a file that does not exist yet, its folder's and its name in it.
  using Identity = std::tuple<std::uint64_t, std::uint64_t, std::string>;
  std::map<Identity, NamedFile> written_;
  std::map<Identity, NamedFile> read_;
};

}  // namespace wan
