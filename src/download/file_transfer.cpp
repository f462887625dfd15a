#include "download/file_transfer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "download/digest.h"
#include "net/url.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr int kMostFruitless = 5;     // attempts without a new byte
constexpr double kLongestWait = 300;  // seconds; a server that asks for more is left alone
constexpr double kToldWait = 4;       // seconds
constexpr std::size_t kPiece = std::size_t{1} << 20;

/// Both sums of a file's content, of which the hub says one.
class ContentSum {
 public:
  explicit ContentSum(const DownloadFile& file) : file_(&file) { restart(); }

  void restart() {
    sha256_ = Sha256();
    sha1_ = Sha1();
    if (by_git()) {
      const std::string head = fmt::format("blob {}", file_->size) + '\0';
      sha1_.update(std::as_bytes(std::span(head)));
    }
  }
  void update(std::span<const std::byte> piece) {
    if (by_git())
      sha1_.update(piece);
    else
      sha256_.update(piece);
  }
  bool is_known() const { return !file_->sha256.empty() || !file_->git_sha1.empty(); }
  /// True as well where the hub says no sum.
  bool is_right() {
    if (by_git()) return sha1_.finish() == file_->git_sha1;
    return file_->sha256.empty() || sha256_.finish() == file_->sha256;
  }

 private:
  bool by_git() const { return file_->sha256.empty() && !file_->git_sha1.empty(); }

  const DownloadFile* file_;
  Sha256 sha256_;
  Sha1 sha1_;
};

/// The bytes that have come so far, on disk; locked, so that two downloads do not write into one file.
class PartialFile {
 public:
  PartialFile(const fs::path& path, const DownloadFile& file) : path_(path), sum_(file) {
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0) fail_io("write", errno);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      fail(ErrorCode::kIo, "{} is being downloaded already; wait for that to end", path.string());
    }
    struct stat opened {};
    struct stat named {};
    if (::fstat(descriptor_, &opened) != 0 || ::stat(path.c_str(), &named) != 0 ||
        opened.st_ino != named.st_ino) {
      ::close(descriptor_);
      fail(ErrorCode::kIo, "another download has just finished {}; start again", file.path);
    }
  }
  ~PartialFile() { ::close(descriptor_); }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  std::int64_t bytes() const { return bytes_; }

  /// Counts in what is there already, unless it is more than `most` or nothing says of which content it is.
  void take_up(std::int64_t most, const std::function<void()>& check_cancelled) {
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0) fail_io("read", errno);
    if (info.st_size > most || !sum_.is_known()) return restart();
    std::vector<std::byte> piece(kPiece);
    for (;;) {
      check_cancelled();
      const ssize_t count = ::read(descriptor_, piece.data(), piece.size());
      if (count < 0) fail_io("read", errno);
      if (count == 0) return;
      add({piece.data(), static_cast<std::size_t>(count)});
    }
  }
  void restart() {
    if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0) fail_io("write", errno);
    sum_.restart();
    bytes_ = 0;
    beginning_.clear();
  }
  void write(std::span<const std::byte> piece) {
    for (std::span<const std::byte> rest = piece; !rest.empty();) {
      const ssize_t count = ::write(descriptor_, rest.data(), rest.size());
      if (count < 0) fail_io("write", errno);
      rest = rest.subspan(static_cast<std::size_t>(count));
    }
    add(piece);
  }
  bool is_right() { return sum_.is_right(); }
  /// Its first bytes, for what a wrong content is.
  const std::string& beginning() const { return beginning_; }

  void commit(const fs::path& target) {
    if (::fsync(descriptor_) != 0) fail_io("write", errno);
    std::error_code error;
    fs::rename(path_, target, error);
    WAN_CHECK(!error, kIo, "cannot name {}: {}", target.string(), system_reason(error.value()));
  }
  void remove() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

 private:
  void add(std::span<const std::byte> piece) {
    constexpr std::size_t kBeginning = 64;
    if (beginning_.size() < kBeginning)
      beginning_.append(reinterpret_cast<const char*>(piece.data()),
                        std::min(piece.size(), kBeginning - beginning_.size()));
    sum_.update(piece);
    bytes_ += static_cast<std::int64_t>(piece.size());
  }
  [[noreturn]] void fail_io(const char* verb, int error) const {
    fail(ErrorCode::kIo, "cannot {} {}: {}", verb, path_.string(), system_reason(error));
  }

  fs::path path_;
  ContentSum sum_;
  int descriptor_ = -1;
  std::int64_t bytes_ = 0;
  std::string beginning_;
};

/// "bytes 100-199/200" that begins at `first` of `size` bytes.
bool is_range_from(const std::string& header, std::int64_t first, std::int64_t size) {
  return header == fmt::format("bytes {}-{}/{}", first, size - 1, size);
}

/// Appends to a partial file what belongs there.
class PartialSink final : public HttpSink {
 public:
  /// `etag` becomes what the content goes by.
  PartialSink(const TransferContext& context, const DownloadFile& file, PartialFile& partial,
              std::string& etag)
      : context_(context), file_(file), partial_(partial), etag_(etag) {}

  void begin(const HttpResponse& head) override {
    if (head.status == 206) {
      if (!is_range_from(head.header("content-range"), partial_.bytes(), file_.size)) {
        partial_.restart();
        throw TransferError(format_message("{} sends another part of {} than it was asked for",
                                           host_of(head.url), file_.path),
                            true);
      }
    } else if (partial_.bytes() > 0) {
      context_.notice(format_message("{} does not go on in the middle of a file: {} begins anew",
                                     host_of(head.url), file_.path));
      partial_.restart();
    }
    etag_ = head.header("etag");
  }
  void write(std::span<const std::byte> piece) override {
    if (partial_.bytes() + static_cast<std::int64_t>(piece.size()) > file_.size) {
      partial_.restart();
      throw TransferError(format_message("{} is longer than the {} bytes that {} says; try again later",
                                         file_.path, file_.size, context_.hub.title()),
                          true);
    }
    partial_.write(piece);
    context_.progress(file_, partial_.bytes());
  }

 private:
  const TransferContext& context_;
  const DownloadFile& file_;
  PartialFile& partial_;
  std::string& etag_;
};

/// What a content is that it should not be.
std::string wrong_content(const Hub& hub, const DownloadFile& file, const std::string& beginning) {
  if (beginning.starts_with("version https://git-lfs"))
    return format_message(
        "{} of {} is a pointer of git-lfs and not the file itself; take it from another source", file.path,
        hub.title());
  if (beginning.find("<html") != std::string::npos || beginning.find("<!DOCTYPE") != std::string::npos)
    return format_message(
        "{} came as a web page, perhaps a proxy's or a network's sign-in page; check https_proxy", file.path);
  return format_message("the content of {} is not what {} says (sha256); try again, or another source",
                        file.path, hub.title());
}

/// Whether the final name is taken by the wanted content. Throws InvalidArgument where it is by another one.
bool is_there(const fs::path& target, const DownloadFile& file,
              const std::function<void()>& check_cancelled) {
  if (!file_exists(target)) return false;
  struct stat info {};
  bool right = ::stat(target.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size == file.size;
  if (right) {
    ContentSum sum(file);
    const int descriptor = ::open(target.c_str(), O_RDONLY | O_CLOEXEC);
    std::vector<std::byte> piece(kPiece);
    ssize_t count = 0;
    while (descriptor >= 0 && (count = ::read(descriptor, piece.data(), piece.size())) > 0) {
      check_cancelled();
      sum.update({piece.data(), static_cast<std::size_t>(count)});
    }
    const int error = errno;
    if (descriptor >= 0) ::close(descriptor);
    WAN_CHECK(descriptor >= 0 && count == 0, kIo, "cannot read {}: {}", target.string(),
              system_reason(error));
    right = sum.is_right();
  }
  WAN_CHECK_FIELD(
      right, kInvalidArgument, "local_dir",
      "{} is there already and is not the published file; remove it, or name another folder as `local_dir`",
      target.string());
  return true;
}

/// The requests that make one file whole.
class FileFetch {
 public:
  FileFetch(Connection& connection, const TransferContext& context, const DownloadFile& file,
            PartialFile& partial)
      : connection_(connection), context_(context), file_(file), partial_(partial) {}

  void run() {
    while (!is_whole()) {
      most_ = std::max(most_, partial_.bytes());
      Pause pause{.seconds = static_cast<double>(1 << fruitless_)};
      try {
        ask(pause);
      } catch (const TransferError& lost) {
        if (!lost.may_pass()) throw;
        pause.reason = lost.what();
      }
      context_.progress(file_, partial_.bytes());
      if (pause.reason.empty()) continue;
      if (partial_.bytes() > most_) {
        fruitless_ = 0;  // the connection broke, and the next one goes on
        continue;
      }
      if (++fruitless_ == kMostFruitless)
        fail(ErrorCode::kIo, "{}; what has come of {} is kept, and the same command goes on with it",
             MessagePart{pause.reason}, file_.path);
      if (pause.seconds >= kToldWait)
        context_.notice(
            format_message("{}; the next attempt is in {:.0f} s", MessagePart{pause.reason}, pause.seconds));
      wait_seconds(pause.seconds, connection_.cancelled);
    }
  }

 private:
  /// Why a request is to be made again, and when. No reason: there is nothing to wait for.
  struct Pause {
    std::string reason = {};
    double seconds = 0;
  };

  bool is_whole() {
    if (partial_.bytes() < file_.size) return false;
    if (partial_.is_right()) return true;
    begin_anew();
    return false;
  }

  /// After a content that is not the wanted one; the second time that is told.
  void begin_anew() {
    const std::string reason = wrong_content(context_.hub, file_, partial_.beginning());
    partial_.restart();
    most_ = 0;
    if (came_wrong_) {
      partial_.remove();
      fail(ErrorCode::kBadFile, "{}", MessagePart{reason});
    }
    came_wrong_ = true;
  }

  /// One request for what is missing. Throws what no other request would change.
  void ask(Pause& pause) {
    const Hub& hub = context_.hub;
    const std::string& repository = context_.plan.repository;
    HttpRequest request = connection_.request(hub.file_url(repository, context_.plan.commit, file_.path));
    request.headers = {{"Accept-Encoding", "identity"}};  // ranges are of the file itself
    if (partial_.bytes() > 0) {
      request.headers.emplace_back("Range", fmt::format("bytes={}-", partial_.bytes()));
      if (etag_.starts_with('"')) request.headers.emplace_back("If-Range", etag_);
    }
    PartialSink sink(context_, file_, partial_, etag_);
    const HttpResponse answer = connection_.client.get(request, &sink);
    if (answer.ok()) {
      if (partial_.bytes() == file_.size) return;
      if (!answer.header("content-length").empty()) return begin_anew();  // this is all that there is
      pause.reason =
          format_message("{} of the {} bytes of {} came", partial_.bytes(), file_.size, file_.path);
    } else if (answer.status == 416) {
      partial_.restart();
      pause.reason = format_message("{} has no more of {}", host_of(answer.url), file_.path);
    } else if (may_pass(answer.status) || !same_origin(answer.url, hub.credentials().origin)) {
      // What a hub redirects to is signed and good for a while only: the next request asks the hub itself.
      pause.reason = format_message("{} answers {} for {}", host_of(answer.url), answer.status, file_.path);
      pause.seconds = std::max(pause.seconds, answer.retry_after.value_or(0));
      if (pause.seconds > kLongestWait) hub.fail_with(answer, repository, file_.path);
    } else {
      hub.fail_with(answer, repository, file_.path);
    }
  }

  Connection& connection_;
  const TransferContext& context_;
  const DownloadFile& file_;
  PartialFile& partial_;
  std::string etag_;
  bool came_wrong_ = false;
  int fruitless_ = 0;
  std::int64_t most_ = 0;  // bytes that there have been: what is fetched again is no progress
};

}  // namespace

fs::path partial_path(const fs::path& folder, const DownloadFile& file) {
  const fs::path target = folder / file.path;
  const std::string content = (file.sha256.empty() ? file.git_sha1 : file.sha256).substr(0, 16);
  return target.parent_path() / fmt::format(".{}.{}.incomplete", target.filename().string(), content);
}

void fetch_file(Connection& connection, const TransferContext& context, const DownloadFile& file) {
  const auto check_cancelled = [&] {
    WAN_CHECK(connection.cancelled == nullptr || !*connection.cancelled, kCancelled,
              "stopped while downloading");
  };
  const fs::path target = context.plan.folder / file.path;
  if (is_there(target, file, check_cancelled)) return;
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  WAN_CHECK(!error, kIo, "cannot make the folder {}: {}", target.parent_path().string(),
            system_reason(error.value()));
  PartialFile partial(partial_path(context.plan.folder, file), file);
  partial.take_up(file.size, check_cancelled);
  context.progress(file, partial.bytes());
  FileFetch(connection, context, file, partial).run();
  partial.commit(target);
}

}  // namespace wan
