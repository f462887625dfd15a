#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

template <typename T>
bool parse_whole(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

fs::path folder_of(const fs::path& target) {
  return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

/// Where writing to `path` ends. A circle of links is left as it is.
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

/// What temporary names begin and end with; between them stands "<pid>-<n>".
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
         fmt::format("{}{}-{}{}", temporary_prefix(file), ::getpid(), counter++, temporary_suffix(file));
}

/// Whether `name` is a temporary one for `file` and its process is gone.
bool is_abandoned(const std::string& name, const fs::path& file) {
  const std::string prefix = temporary_prefix(file);
  const std::string suffix = temporary_suffix(file);
  if (name.size() < prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix))
    return false;
  const std::string mark = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  const std::size_t dash = mark.find('-');
  pid_t process = 0;
  int count = 0;
  if (dash == std::string::npos || !parse_whole(mark.substr(0, dash), process) ||
      !parse_whole(mark.substr(dash + 1), count))
    return false;
  return process > 0 && ::kill(process, 0) != 0 && errno == ESRCH;
}

}  // namespace

AtomicFile::AtomicFile(fs::path target)
    : target_(std::move(target)), file_(followed(target_)), temporary_(temporary_name(file_)) {
  const int fd = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  WAN_CHECK(fd >= 0, kIo, "cannot write in {}: {}", folder_of(file_).string(), std::strerror(errno));
  ::close(fd);
}

AtomicFile::~AtomicFile() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::commit() {
  const int fd = ::open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
  WAN_CHECK(fd >= 0, kIo, "cannot reopen {}: {}", temporary_.string(), std::strerror(errno));
  const int synced = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  WAN_CHECK(synced == 0, kIo, "cannot write {}: {}", target_.string(), std::strerror(error));
  WAN_CHECK(std::rename(temporary_.c_str(), file_.c_str()) == 0, kIo, "cannot write {}: {}", target_.string(),
            std::strerror(errno));
  committed_ = true;
}

void remove_abandoned(std::span<const fs::path> targets) {
  if (targets.empty()) return;
  std::vector<fs::path> files;
  for (const fs::path& target : targets) files.push_back(followed(target));
  std::error_code none;
  std::vector<fs::path> abandoned;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(files.front()), none)) {
    const std::string name = entry.path().filename().string();
    if (name.find(".partial") != std::string::npos &&
        std::any_of(files.begin(), files.end(),
                    [&](const fs::path& file) { return is_abandoned(name, file); }))
      abandoned.push_back(entry.path());
  }
  for (const fs::path& path : abandoned) fs::remove(path, none);
}

void write_file_atomically(const fs::path& target, std::string_view content) {
  AtomicFile file(target);
  std::ofstream stream(file.temporary_path(), std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  stream.close();
  WAN_CHECK(stream.good(), kIo, "cannot write {}: {} (is the disk full?)", target.string(),
            std::strerror(errno));
  file.commit();
}

void check_writable_target(const fs::path& target) {
  WAN_CHECK(target.filename().string().size() <= 255, kInvalidArgument,
            "cannot write {}: the file name is longer than 255 bytes", target.string());
  WAN_CHECK(!target.filename().empty() && !fs::is_directory(target), kInvalidArgument,
            "cannot write {}: it is a folder; name a file", target.string());
  const fs::path folder = folder_of(followed(target));
  WAN_CHECK(fs::is_directory(folder), kInvalidArgument, "cannot write {}: the folder {} does not exist",
            target.string(), folder.string());
  remove_abandoned(std::span(&target, 1));
  try {
    const AtomicFile probe(
        target);  // permissions alone do not tell: root, network and read-only file systems
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "cannot write {}: the folder {} is not writable", target.string(),
         folder.string());
  }
}

}  // namespace wan
