#include "media/raw_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace wan {

RawFile::RawFile(const std::filesystem::path& target) : file_(target) {
  fd_ = ::open(file_.temporary_path().c_str(), O_WRONLY | O_CLOEXEC);
  WAN_CHECK(fd_ >= 0, kIo, "cannot write {}: {}", target.string(), system_reason(errno));
}

RawFile::~RawFile() {
  if (fd_ >= 0) ::close(fd_);
}

void RawFile::write_at(std::int64_t offset, std::span<const std::byte> bytes) {
  WAN_ASSERT(fd_ >= 0);
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    WAN_CHECK(written > 0, kIo, "cannot write {}: {}", file_.target().string(), system_reason(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

void RawFile::end_writing() {
  if (fd_ < 0) return;
  // Network file systems report a failed write only here.
  WAN_CHECK(::close(std::exchange(fd_, -1)) == 0, kIo, "cannot write {}: {}", file_.target().string(),
            system_reason(errno));
}

void RawFile::close() {
  end_writing();
  file_.unlock();
}

void RawFile::commit(const std::filesystem::path& earlier) {
  end_writing();
  file_.commit(earlier);
}

}  // namespace wan
