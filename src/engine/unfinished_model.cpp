#include "engine/unfinished_model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// Eight bytes at a time, where FnvHash takes one.
std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t count = std::min(sizeof word, bytes.size());
    std::memcpy(&word, bytes.data(), count);
    sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    sum ^= sum >> 32;
    bytes = bytes.subspan(count);
  }
  return sum;
}

fs::path with_ending(const fs::path& target, const char* ending) {
  return followed(target).replace_extension(ending);
}

fs::path partial_of(const fs::path& target) {
  return with_ending(target, ".partial");
}

fs::path journal_of(const fs::path& target) {
  return with_ending(target, ".journal");
}

struct JournalLine {
  std::uint64_t sum;
  double error;
};

std::string text_of(const JournalLine& line) {
  return fmt::format("{:016x} {}", line.sum, line.error);
}

std::optional<JournalLine> parse_line(const std::string& text) {
  JournalLine line{};
  const char* const end = text.data() + text.size();
  const auto [after_sum, sum_error] = std::from_chars(text.data(), end, line.sum, 16);
  if (sum_error != std::errc() || after_sum == end) return std::nullopt;
  const auto [after, error] = std::from_chars(after_sum + 1, end, line.error);
  if (error != std::errc() || text_of(line) != text) return std::nullopt;
  return line;
}

bool write_all(int fd, std::span<const std::byte> bytes, std::int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
  return true;
}

}  // namespace

UnfinishedModel::UnfinishedModel(const fs::path& target, const std::string& identity, std::vector<Part> parts)
    : target_(target), file_(partial_of(target)), journal_(journal_of(target)), parts_(std::move(parts)) {
  fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  check(fd_ >= 0);
  try {
    lock();
    take_up(identity);
    journal_fd_ = ::open(journal_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    check(journal_fd_ >= 0 && ::ftruncate(journal_fd_, journal_bytes_) == 0);
    if (journal_bytes_ > 0) return;
    check(::ftruncate(fd_, 0) == 0);
    add_to_journal(identity);
  } catch (...) {
    close();
    throw;
  }
}

UnfinishedModel::~UnfinishedModel() {
  close();
}

void UnfinishedModel::close() {
  ::close(fd_);
  if (journal_fd_ >= 0) ::close(journal_fd_);
}

void UnfinishedModel::check(bool done) const {
  WAN_CHECK(done, kIo, "cannot write {}: {}", target_.string(), system_reason(errno));
}

void UnfinishedModel::lock() {
  // Where there are no locks no one else gets one either.
  const bool taken = ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  struct stat opened {};
  struct stat named {};
  const bool is_named = ::fstat(fd_, &opened) == 0 && ::stat(file_.c_str(), &named) == 0 &&
                        opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
  WAN_CHECK(!taken && is_named, kIo, "{} is being written by another process; wait for that to end",
            target_.string());
}

void UnfinishedModel::take_up(const std::string& identity) {
  std::ifstream journal(journal_);
  std::string line;
  // A last line without an end has been cut off.
  const auto next = [&] { return std::getline(journal, line) && !journal.eof(); };
  const MappedFile file(file_);
  const auto size = static_cast<std::int64_t>(file.bytes().size());
  if (!next() || line != identity) {
    replaces_another_ = size > 0;
    return;
  }
  journal_bytes_ = static_cast<std::int64_t>(line.size() + 1);
  while (errors_.size() < parts_.size() && next()) {
    const Part& part = parts_[errors_.size()];
    const std::optional<JournalLine> told = parse_line(line);
    if (!told || part.offset + part.bytes > size) break;
    const auto bytes =
        file.bytes().subspan(static_cast<std::size_t>(part.offset), static_cast<std::size_t>(part.bytes));
    const bool holds = sum_of(bytes) == told->sum;
    file.release_pages(bytes);
    file.check_whole();
    if (!holds) break;
    errors_.push_back(told->error);
    journal_bytes_ += static_cast<std::int64_t>(line.size() + 1);
  }
}

void UnfinishedModel::add_to_journal(const std::string& line) {
  const std::string text = line + "\n";
  check(write_all(journal_fd_, std::as_bytes(std::span(text)), journal_bytes_));
  journal_bytes_ += static_cast<std::int64_t>(text.size());
}

void UnfinishedModel::write(std::span<const std::byte> part, double error) {
  WAN_ASSERT(errors_.size() < parts_.size());
  const Part& place = parts_[errors_.size()];
  WAN_ASSERT(static_cast<std::int64_t>(part.size()) == place.bytes);
  if (!write_all(fd_, part, place.offset))
    fail(ErrorCode::kIo, "cannot write {}: {}; the same conversion goes on with what is written",
         target_.string(), system_reason(errno));
  add_to_journal(text_of({sum_of(part), error}));
  errors_.push_back(error);
}

void UnfinishedModel::commit() {
  WAN_ASSERT(errors_.size() == parts_.size());
  const std::int64_t size = parts_.empty() ? 0 : parts_.back().offset + parts_.back().bytes;
  check(::ftruncate(fd_, size) == 0 && ::fsync(fd_) == 0);
  check(::rename(file_.c_str(), followed(target_).c_str()) == 0);
  tidy(target_);
}

void UnfinishedModel::remove() {
  std::error_code ignored;
  fs::remove(file_, ignored);
  fs::remove(journal_, ignored);
}

std::int64_t UnfinishedModel::bytes_there(const fs::path& target) {
  constexpr std::int64_t kBlock = 512;  // stat's, whatever the file system's
  struct stat info {};
  return ::stat(partial_of(target).c_str(), &info) == 0 ? static_cast<std::int64_t>(info.st_blocks) * kBlock
                                                        : 0;
}

void UnfinishedModel::tidy(const fs::path& target) {
  std::error_code ignored;
  fs::remove(journal_of(target), ignored);
}

}  // namespace wan
