#pragma once
// Whether paths mean one file, however they are spelled: relative, through links, or as two names of one inode.

#include <filesystem>
#include <span>
#include <string>

namespace wan {

/// Whether both exist and are one file. False where the system cannot say.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b);

/// A file under the words that a person knows it by, such as the member that names it: "`image`".
struct NamedFile {
  const char* name;
  std::filesystem::path path;
};

/// Throws InvalidArgument, naming both, where two of `written` mean one file, or one of `written` and one of `read`. Files
/// that do not exist yet count: they are one where they would be made under one name in one folder.
void check_files_apart(std::span<const NamedFile> written, std::span<const NamedFile> read);

}  // namespace wan
