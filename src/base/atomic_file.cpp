#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  bool is_open() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_;
};

fs::path replaceable(fs::path target) {
  try {
    check_replaceable(target);
  } catch (const Error& error) {  // it was checked when the request was
    throw Error(ErrorCode::kIo, error.what());
  }
  return target;
}

/// Permissions of a temporary file: never more than those of the file that it replaces.
unsigned mode_for(const fs::path& file) {
  struct stat info {};
  return ::stat(file.c_str(), &info) == 0 ? (info.st_mode & 0777u) | S_IRUSR | S_IWUSR : 0666u;
}

/// The access control list of `from`, or none, as it has; false where it has one that `to` cannot be given.
bool take_over_access_list(const fs::path& from, int to) {
  constexpr const char* kName = "system.posix_acl_access";
  std::array<char, 4096> list;
  const ssize_t size = ::getxattr(from.c_str(), kName, list.data(), list.size());
  if (size >= 0) return ::fsetxattr(to, kName, list.data(), static_cast<std::size_t>(size), 0) == 0;
  const bool has_none = errno != ERANGE;
  ::fremovexattr(to, kName);  // the folder's default
  return has_none;
}

/// Gives the open file `to` the permissions of `from`, and its owner and group as far as this user may.
void take_over_access(const fs::path& from, const struct stat& info, int to) {
  if (::fchown(to, info.st_uid, info.st_gid) != 0)
    static_cast<void>(::fchown(to, static_cast<uid_t>(-1), info.st_gid));
  struct stat now {};
  const bool same_group = ::fstat(to, &now) == 0 && now.st_gid == info.st_gid;
  mode_t mode = info.st_mode & 0777u;
  // What a group was allowed, another must not be: it gets what everyone has.
  const bool same_list = take_over_access_list(from, to);
  if (!same_group || !same_list) mode = (mode & 0707u) | (mode & 0007u) << 3;
  static_cast<void>(::fchmod(to, mode));
}

/// Makes room for `size` bytes in `to`, so that a full disk is found while its content is still there; errno where there
/// is none. File systems that cannot tell say so later.
int reserve(int to, off_t size, off_t size_before) {
  if (size == 0 || ::fallocate(to, 0, 0, size) == 0) return 0;
  if (errno == EOPNOTSUPP || errno == ENOSYS) return 0;
  const int error = errno;
  static_cast<void>(::ftruncate(to, size_before));
  return error;
}

/// Makes `to` hold what `from` does; errno where that fails, after which it holds neither.
int copy_all(int from, int to, off_t size) {
  std::vector<char> buffer(std::size_t{1} << 20);
  for (off_t at = 0; at < size;) {
    const ssize_t count = ::pread(from, buffer.data(), buffer.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? errno : EIO;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written =
          ::pwrite(to, buffer.data() + done, static_cast<std::size_t>(count - done), at + done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return written < 0 ? errno : EIO;
      done += written;
    }
    at += count;
  }
  return ::ftruncate(to, size) == 0 && ::fsync(to) == 0 ? 0 : errno;
}

}  // namespace

AtomicFile::AtomicFile(fs::path target)
    : target_(replaceable(std::move(target))), file_(followed(target_)), temporary_(file_, mode_for(file_)) {}

void AtomicFile::commit(const fs::path& earlier) {
  const auto check = [&](bool done, int error) {
    WAN_CHECK(done, kIo, "cannot write {}: {}", target_.string(), system_reason(error));
  };
  const Descriptor whole(temporary_.path(), O_RDONLY);
  check(whole.is_open(), errno);
  struct stat there {};
  const bool replaces = ::stat(file_.c_str(), &there) == 0;
  WAN_CHECK(!replaces || S_ISREG(there.st_mode), kIo,
            "cannot write {}: it has become something else than a regular file", target_.string());
  if (replaces && there.st_nlink == 1) take_over_access(file_, there, whole.get());
  check(::fsync(whole.get()) == 0, errno);
  if (!replaces || there.st_nlink == 1) {
    if (replaces && !earlier.empty()) static_cast<void>(std::rename(file_.c_str(), earlier.c_str()));
    check(std::rename(temporary_.path().c_str(), file_.c_str()) == 0, errno);
    temporary_.keep();
    return;
  }
  const Descriptor to(file_, O_WRONLY | O_NOFOLLOW);
  check(to.is_open(), errno);
  struct stat written {};
  check(::fstat(whole.get(), &written) == 0, errno);
  const int full = reserve(to.get(), written.st_size, there.st_size);
  check(full == 0, full);
  const int error = copy_all(whole.get(), to.get(), written.st_size);
  if (error == 0) return;
  temporary_.keep();
  fs::path spare = file_.parent_path() / (file_.stem().string() + ".whole" + file_.extension().string());
  if (std::rename(temporary_.path().c_str(), spare.c_str()) != 0) spare = temporary_.path();
  fail(ErrorCode::kIo, "cannot write {}: {}; all of it is in {}", target_.string(), system_reason(error),
       spare.string());
}

void AtomicFile::take_back() {
  std::error_code ignored;
  fs::remove(file_, ignored);
}

void write_file_atomically(const fs::path& target, std::string_view content) {
  AtomicFile file(target);
  errno = 0;
  std::ofstream stream(file.temporary_path(), std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  stream.close();
  WAN_CHECK(stream.good(), kIo, "cannot write {}: {}", target.string(),
            errno != 0 ? system_reason(errno) : "is the disk full?");
  file.commit();
}

void check_replaceable(const fs::path& target) {
  struct stat info {};
  if (::stat(target.c_str(), &info) != 0) {
    WAN_CHECK(errno == ENOENT || errno == ENOTDIR, kInvalidArgument, "cannot write {}: {}", target.string(),
              system_reason(errno));
    return;
  }
  const FileKind kind = file_kind(target);
  WAN_CHECK(kind != FileKind::kFolder, kInvalidArgument, "cannot write {}: it is a folder; name a file",
            target.string());
  WAN_CHECK(kind == FileKind::kRegular, kInvalidArgument,
            "cannot write {}: it is {}; name a regular file, or one that is not there yet", target.string(),
            file_kind_name(kind));
  struct stat end {};
  WAN_CHECK(
      ::stat(followed(target).c_str(), &end) == 0 && end.st_dev == info.st_dev && end.st_ino == info.st_ino,
      kInvalidArgument, "cannot write {}: it is a link that cannot be followed; name the file itself",
      target.string());
}

void check_writable_target(const fs::path& target) {
  WAN_CHECK(target.filename().string().size() <= 255, kInvalidArgument,
            "cannot write {}: the file name is longer than 255 bytes", target.string());
  WAN_CHECK(!target.filename().empty(), kInvalidArgument, "cannot write {}: it is a folder; name a file",
            target.string());
  check_replaceable(target);
  const fs::path file = followed(target);
  const fs::path folder = folder_of(file);
  const FileKind kind = file_kind(folder);
  WAN_CHECK(kind == FileKind::kFolder, kInvalidArgument, "cannot write {}: the folder {} {}", target.string(),
            folder.string(), kind == FileKind::kNothing ? "does not exist" : "is none");
  remove_abandoned(std::span(&target, 1));
  struct stat info {};
  if (::stat(file.c_str(), &info) == 0 && info.st_nlink > 1) {
    const Descriptor opened(file, O_WRONLY);
    WAN_CHECK(opened.is_open(), kInvalidArgument,
              "cannot write {}: it has other names (hard links) and would be written in place: {}",
              target.string(), system_reason(errno));
  }
  try {
    const AtomicFile probe(
        target);  // permissions alone do not tell: root, network and read-only file systems
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "cannot write {}: {}", target.string(), error.what());
  }
}

}  // namespace wan
