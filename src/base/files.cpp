#include "base/files.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

const char* remedy(int error) {
  switch (error) {
    case ENOENT:
      return "check the path";
    case EACCES:
    case EPERM:
      return "give this user the right to it and to the folders above it, or name another";
    case ELOOP:
      return "its symbolic links lead in a circle, name the file itself";
    case ENAMETOOLONG:
      return "name a shorter path";
    case ENOSPC:
    case EDQUOT:
      return "free some space, or name a folder on another disk";
    case EROFS:
      return "name a folder that can be written";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EIO:
    case ESTALE:
    case ENOTCONN:
    case EHOSTDOWN:
      return "check the disk or the network share";
    default:
      return nullptr;
  }
}

[[noreturn]] void fail_reading(const fs::path& path, int error) {
  fail(ErrorCode::kBadFile, "cannot read {}: {}", path.string(), system_reason(error));
}

}  // namespace

std::string system_reason(int error) {
  const char* advice = remedy(error);
  return advice == nullptr ? std::strerror(error) : fmt::format("{}; {}", std::strerror(error), advice);
}

const char* file_kind_name(FileKind kind) {
  switch (kind) {
    case FileKind::kNothing:
      return "nothing";
    case FileKind::kRegular:
      return "a regular file";
    case FileKind::kFolder:
      return "a folder";
    case FileKind::kPipe:
      return "a pipe";
    case FileKind::kSocket:
      return "a socket";
    case FileKind::kDevice:
      break;
  }
  return "a device";
}

FileKind file_kind(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return FileKind::kNothing;
    fail_reading(path, errno);
  }
  if (S_ISREG(info.st_mode)) return FileKind::kRegular;
  if (S_ISDIR(info.st_mode)) return FileKind::kFolder;
  if (S_ISFIFO(info.st_mode)) return FileKind::kPipe;
  return S_ISSOCK(info.st_mode) ? FileKind::kSocket : FileKind::kDevice;
}

bool file_exists(const fs::path& path) {
  return file_kind(path) != FileKind::kNothing;
}

bool is_folder(const fs::path& path) {
  return file_kind(path) == FileKind::kFolder;
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) found.push_back(entry->path());
  WAN_CHECK(!error, kBadFile, "cannot read the folder {}: {}", folder.string(), system_reason(error.value()));
  std::sort(found.begin(), found.end());
  return found;
}

fs::path real_path(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(path, error);
  if (error) fail_reading(path, error.value());
  return real;
}

fs::path temporary_folder() {
  std::error_code error;
  fs::path folder = fs::temp_directory_path(error);
  WAN_CHECK(!error, kBadFile, "there is no folder for temporary files: {}; name one in TMPDIR",
            error.message());
  return folder;
}

std::optional<std::int64_t> free_disk_bytes(const fs::path& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0 || info.f_blocks == 0) return std::nullopt;
  return static_cast<std::int64_t>(info.f_bavail * info.f_frsize);
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

fs::path followed(const fs::path& path) {
  constexpr int kMostLinks = 40;  // as the kernel
  fs::path file = path;
  std::error_code error;
  for (int links = 0; links < kMostLinks && fs::is_symlink(file, error); ++links) {
    const fs::path next = fs::read_symlink(file, error);
    if (error) return path;
    file = folder_of(file) / next;  // `next` alone where it is absolute
  }
  return fs::is_symlink(file, error) ? path : file;
}

}  // namespace wan
