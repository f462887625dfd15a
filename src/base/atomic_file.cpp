#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

fs::path folder_of(const fs::path& target) {
  return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

fs::path temporary_name(const fs::path& target) {
  static std::atomic<int> counter{0};
  // A file name may have 255 bytes; the stem is cut so that the marks around it fit.
  const std::string stem = target.stem().string().substr(0, 180);
  return folder_of(target) /
         fmt::format(".{}.{}-{}.partial{}", stem, ::getpid(), counter++, target.extension().string());
}

}  // namespace

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)), temporary_(temporary_name(target_)) {
  const int fd = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  WAN_CHECK(fd >= 0, kIo, "cannot write in {}: {}", folder_of(target_).string(), std::strerror(errno));
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
  WAN_CHECK(std::rename(temporary_.c_str(), target_.c_str()) == 0, kIo, "cannot write {}: {}",
            target_.string(), std::strerror(errno));
  committed_ = true;
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
  const fs::path folder = folder_of(target);
  WAN_CHECK(fs::is_directory(folder), kInvalidArgument, "cannot write {}: the folder {} does not exist",
            target.string(), folder.string());
  try {
    const AtomicFile probe(
        target);  // permissions alone do not tell: root, network and read-only file systems
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "cannot write {}: the folder {} is not writable", target.string(),
         folder.string());
  }
}

}  // namespace wan
