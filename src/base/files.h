#pragma once
// What a path names. Where the system cannot say, an Error with the path, its reason and a remedy:
// std::filesystem's own calls throw exceptions that have neither code nor remedy.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace wan {

enum class FileKind { kNothing, kRegular, kFolder, kPipe, kDevice, kSocket };

/// "a pipe", for a message.
const char* file_kind_name(FileKind kind);

/// Links followed; a link to nothing is kNothing. Throws BadFile: links in a circle, a name that is too long, a folder on
/// the way that this user may not enter.
FileKind file_kind(const std::filesystem::path& path);
/// file_kind() is not kNothing; throws as it does.
bool file_exists(const std::filesystem::path& path);
/// file_kind() is kFolder; throws as it does.
bool is_folder(const std::filesystem::path& path);

/// All that `folder` holds, sorted by name. Throws BadFile.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);

/// Absolute, links followed as far as the path exists. Throws BadFile.
std::filesystem::path real_path(const std::filesystem::path& path);

/// For temporary files: $TMPDIR, or /tmp. Throws BadFile where that is no folder.
std::filesystem::path temporary_folder();

/// Where a file is made that is written to `path`: links followed, whether the last one's target exists or not; `path`
/// itself where they lead in a circle.
std::filesystem::path followed(const std::filesystem::path& path);

/// Bytes that this user may still write on the disk of `folder`; nothing where the system cannot say. Quotas are not seen.
std::optional<std::int64_t> free_disk_bytes(const std::filesystem::path& folder);

/// The folder that holds `path`: "." for a bare name.
std::filesystem::path folder_of(const std::filesystem::path& path);

/// What errno says, and what a person can do: "Permission denied; give this user ...".
std::string system_reason(int error);

}  // namespace wan
