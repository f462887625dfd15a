#include "base/temporary_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Not the process's number: every container has a process 1.
const std::string& owner() {
  static const std::string drawn = [] {
    std::random_device random;
    return fmt::format("{:08x}{:08x}", random(), random());
  }();
  return drawn;
}

/// What temporary names begin and end with; between them stands "<owner>-<n>".
std::string temporary_prefix(const fs::path& file) {
  // A file name may have 255 bytes; the stem is cut so that the marks around it fit.
  return fmt::format(".{}.", file.stem().string().substr(0, 180));
}

std::string temporary_suffix(const fs::path& file) {
  return ".partial" + file.extension().string();
}

fs::path temporary_name(const fs::path& file) {
  static std::atomic<int> counter{0};
  return folder_of(file) /
         fmt::format("{}{}-{}{}", temporary_prefix(file), owner(), counter++, temporary_suffix(file));
}

bool is_made_of(const std::string& text, const char* characters) {
  return !text.empty() && text.find_first_not_of(characters) == std::string::npos;
}

/// The owner in `mark`, "<owner>-<n>"; empty where it is none.
std::string owner_in(const std::string& mark) {
  const std::size_t dash = mark.find('-');
  if (dash == std::string::npos || !is_made_of(mark.substr(dash + 1), "0123456789")) return {};
  const std::string found = mark.substr(0, dash);
  return is_made_of(found, "0123456789abcdef") ? found : std::string();
}

/// The owner of a temporary file of any target; empty for other names.
std::string owner_of(const std::string& name) {
  const std::size_t end = name.rfind(".partial");
  if (!name.starts_with(".") || end == std::string::npos || end == 0) return {};
  const std::size_t begin = name.rfind('.', end - 1);
  return begin == std::string::npos ? std::string() : owner_in(name.substr(begin + 1, end - begin - 1));
}

bool is_temporary_of(const std::string& name, const fs::path& file) {
  const std::string prefix = temporary_prefix(file);
  const std::string suffix = temporary_suffix(file);
  return name.size() > prefix.size() + suffix.size() && name.starts_with(prefix) && name.ends_with(suffix) &&
         !owner_in(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size())).empty();
}

/// Runs `work` while it holds the lock; false where it cannot be had, as in a file that is in use.
template <typename Work>
bool with_lock(const fs::path& path, Work&& work) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  struct stat info {};
  const bool locked = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (locked) work();
  ::close(fd);
  return locked;
}

bool is_local(const fs::path& folder) {
  struct statfs info {};
  return ::statfs(folder.c_str(), &info) == 0 && is_local_file_system(static_cast<long>(info.f_type));
}

}  // namespace

TemporaryFile::TemporaryFile(const fs::path& file, unsigned mode) {
  constexpr int kMostTries = 1000;
  for (int tries = 0; tries < kMostTries; ++tries) {
    path_ = temporary_name(file);
    lock_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (lock_ < 0 && errno == EEXIST) continue;  // of a process that was forked off this one
    WAN_CHECK(lock_ >= 0, kIo, "no file can be made in {}: {}", folder_of(file).string(),
              system_reason(errno));
    // Where there are no locks, nobody who cleans up gets one either.
    const bool taken = ::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    struct stat info {};
    if (!taken && ::fstat(lock_, &info) == 0 && info.st_nlink > 0) return;
    std::error_code ignored;  // one who cleans up came between, and may have removed it
    fs::remove(path_, ignored);
    unlock();
  }
  fail(ErrorCode::kIo, "no file can be made in {}: other processes take it away at once",
       folder_of(file).string());
}

TemporaryFile::~TemporaryFile() {
  std::error_code ignored;
  if (!kept_) fs::remove(path_, ignored);
  unlock();
}

void TemporaryFile::unlock() {
  if (lock_ >= 0) ::close(std::exchange(lock_, -1));
}

void remove_abandoned(std::span<const fs::path> targets) {
  if (targets.empty()) return;
  std::vector<fs::path> files;
  for (const fs::path& target : targets) files.push_back(followed(target));
  const fs::path folder = folder_of(files.front());
  if (!is_local(folder)) return;
  struct Found {
    std::vector<fs::path> all;
    std::vector<fs::path> of_targets;
  };
  std::map<std::string, Found> by_owner;
  std::vector<fs::path> there;
  try {
    there = list_folder(folder);
  } catch (const Error&) {  // whoever writes there is told
    return;
  }
  for (const fs::path& path : there) {
    const std::string name = path.filename().string();
    const std::string found = owner_of(name);
    if (found.empty()) continue;
    by_owner[found].all.push_back(path);
    if (std::any_of(files.begin(), files.end(),
                    [&](const fs::path& file) { return is_temporary_of(name, file); }))
      by_owner[found].of_targets.push_back(path);
  }
  for (const auto& [other, found] : by_owner) {
    if (found.of_targets.empty()) continue;
    if (!std::all_of(found.all.begin(), found.all.end(),
                     [](const fs::path& path) { return with_lock(path, [] {}); }))
      continue;
    std::error_code none;
    for (const fs::path& path : found.of_targets) with_lock(path, [&] { fs::remove(path, none); });
  }
}

bool is_local_file_system(long type) {
  constexpr long kXfs = 0x58465342, kZfs = 0x2fc12fc1, kBcachefs = 0xca451a4e, kExfat = 0x2011bab0;
  switch (type) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case MSDOS_SUPER_MAGIC:
    case kExfat:
    case kXfs:
    case kZfs:
    case kBcachefs:
      return true;
    default:
      return false;
  }
}

}  // namespace wan
