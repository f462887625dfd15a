#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace {

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // Opening a pipe waits for its writer otherwise.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  WAN_CHECK(fd >= 0, kBadFile, "cannot open {}: {}", path.string(), system_reason(errno));
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    fail(ErrorCode::kBadFile, "cannot read {}: it is not a regular file", path.string());
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {
    ::close(fd);
    return;
  }
  void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapping == MAP_FAILED) {
    const int error = errno;
    ::close(fd);
    WAN_CHECK(
        error != ENOMEM, kOutOfMemory,
        "cannot map {}: its {} bytes are more than this process may still take of addresses; raise its limit "
        "(ulimit -v unlimited)",
        path.string(), size);
    fail(ErrorCode::kBadFile, "cannot map {}: {}", path.string(), system_reason(error));
  }
  data_ = static_cast<const std::byte*>(mapping);
  size_ = size;
  fd_ = fd;
  guard_ = MappingGuard(data_, size_);
}

void MappedFile::check_whole() const {
  if (data_ == nullptr) return;
  struct stat info {};
  const bool is_shorter = ::fstat(fd_, &info) == 0 && static_cast<std::size_t>(info.st_size) < size_;
  WAN_CHECK(!is_shorter, kBadFile,
            "{} was cut short while it was read: it has {} bytes of {}; get it again, and start again",
            path_.string(), info.st_size, size_);
  WAN_CHECK(!guard_.lost(), kBadFile,
            "{} could not be read to its end: another program has changed it, or its disk or network share "
            "fails; check it, and start again",
            path_.string());
}

void MappedFile::read_ahead(std::span<const std::byte> range) const {
  const std::size_t page = page_size();
  WAN_ASSERT(range.data() >= data_ && range.data() + range.size() <= data_ + size_);
  const auto begin = static_cast<std::size_t>(range.data() - data_) / page * page;
  const auto end = static_cast<std::size_t>(range.data() + range.size() - data_);
  // Linux reads no more of what one call names than the device's read-ahead, whose default is this.
  constexpr std::size_t kPiece = 128 << 10;
  for (std::size_t at = begin; at < end; at += kPiece)
    ::madvise(const_cast<std::byte*>(data_) + at, std::min(kPiece, end - at), MADV_WILLNEED);
}

void MappedFile::release_pages(std::span<const std::byte> range) const {
  const std::size_t page = page_size();
  WAN_ASSERT(range.data() >= data_ && range.data() + range.size() <= data_ + size_);
  const auto begin = (static_cast<std::size_t>(range.data() - data_) + page - 1) / page * page;
  const auto end = static_cast<std::size_t>(range.data() + range.size() - data_) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  guard_ = MappingGuard();  // before something else has these addresses
  ::munmap(const_cast<std::byte*>(data_), size_);
  ::close(fd_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      fd_(std::exchange(other.fd_, -1)),
      guard_(std::move(other.guard_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(fd_, other.fd_);
  std::swap(guard_, other.guard_);
  return *this;
}

}  // namespace wan
