// Mapped files: what they hold, files that are cut short while they are read, and pages read ahead.

#include "base/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "support/expect_error.h"
#include "support/page_cache.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

using test::expect_error;

class MappedFileTest : public testing::Test {
 protected:
  test::TempFolder own_;
  fs::path folder_ = own_.path();
};

TEST_F(MappedFileTest, MappedFileReadsAndRefuses) {
  write_file_atomically(folder_ / "data", "abc");
  const MappedFile file(folder_ / "data");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file.bytes()[2]), 'c');
  write_file_atomically(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THROW(MappedFile{folder_ / "missing"}, Error);
  EXPECT_THROW(MappedFile{folder_}, Error);
}

TEST_F(MappedFileTest, ReleasedPagesReadTheSameAgain) {
  const std::string content(1 << 16, 'w');
  write_file_atomically(folder_ / "pages", content);
  const MappedFile file(folder_ / "pages");
  const auto text = [&] {
    return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  };
  EXPECT_EQ(text(), content);
  file.release_pages(file.bytes().subspan(100, 50000));
  file.release_pages(file.bytes().subspan(10, 20));  // less than a page
  EXPECT_EQ(text(), content);
  EXPECT_THROW(file.release_pages(std::span(file.bytes().data(), file.bytes().size() + 1)), Error);
}

/// Reads all of it.
std::size_t count_of(char letter, std::span<const std::byte> bytes) {
  return static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), std::byte(letter)));
}

TEST_F(MappedFileTest, AFileCutShortIsAnErrorAndNotTheEnd) {
  const fs::path path = folder_ / "cut";
  constexpr std::size_t kSize = 1 << 20;
  write_file_atomically(path, std::string(kSize, 'w'));
  write_file_atomically(folder_ / "other", std::string(kSize, 'o'));
  const MappedFile other(folder_ / "other");
  for (const std::size_t left : {kSize - 10, kSize / 2 + 5, std::size_t{0}}) {
    write_file_atomically(path, std::string(kSize, 'w'));
    MappedFile first(path);
    const MappedFile file = std::move(first);
    file.check_whole();
    fs::resize_file(path, left);
    std::vector<std::size_t> found(4);
    {
      std::vector<std::jthread> readers;
      for (std::size_t& count : found) readers.emplace_back([&] { count = count_of('w', file.bytes()); });
    }
    EXPECT_EQ(found, std::vector<std::size_t>(4, left));
    file.read_ahead(file.bytes());
    file.release_pages(file.bytes());
    expect_error(ErrorCode::kBadFile,
                 "cut was cut short while it was read: it has " + std::to_string(left) + " bytes",
                 [&] { file.check_whole(); });
    if (left == kSize - 10) continue;
    fs::resize_file(path, kSize);  // as when it is copied again: zeros have been read all the same
    expect_error(ErrorCode::kBadFile, "could not be read to its end", [&] { file.check_whole(); });
  }
  other.check_whole();
  EXPECT_EQ(count_of('o', other.bytes()), kSize);
  fs::resize_file(folder_ / "other", 2 * kSize);
  fs::remove(folder_ / "other");
  other.check_whole();
}

/// Reads memory whose file is gone, which no guard knows.
void read_unguarded(const fs::path& path) {
  std::ofstream(path) << "x";
  const int fd = ::open(path.c_str(), O_RDWR);
  const auto* data = static_cast<const volatile char*>(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
  static_cast<void>(::ftruncate(fd, 0));
  static_cast<void>(data[0]);
}

TEST_F(MappedFileTest, OtherBusErrorsAreWhatTheyWere) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a process in which nothing is mapped yet
  write_file_atomically(folder_ / "file", "x");
  const auto map_one_after = [&](void (*handler)(int)) {
    std::signal(SIGBUS, handler);  // a sanitizer has one of its own
    MappedFile{folder_ / "file"}.check_whole();
  };
  const auto killed = testing::KilledBySignal(SIGBUS);
  EXPECT_EXIT((map_one_after(SIG_DFL), read_unguarded(folder_ / "gone")), killed, "");
  EXPECT_EXIT((map_one_after(SIG_DFL), std::raise(SIGBUS)), killed, "");
  EXPECT_EXIT((map_one_after([](int) { ::_exit(7); }), read_unguarded(folder_ / "gone")),
              testing::ExitedWithCode(7), "");
  EXPECT_EXIT((map_one_after(SIG_IGN), std::raise(SIGBUS), ::_exit(8)), testing::ExitedWithCode(8), "");
}

TEST_F(MappedFileTest, ReadAheadBringsPagesIntoTheCache) {
  const fs::path path = folder_ / "cold";
  write_file_atomically(path, std::string(64 << 20, 'w'));
  test::drop_from_page_cache(path);
  const MappedFile file(path);
  const auto is_cached = [&](std::size_t offset) {
    return test::in_page_cache(file.bytes().data() + offset);
  };
  if (is_cached(1 << 20) || is_cached(33 << 20))
    GTEST_SKIP() << "the file system keeps what it wrote in memory";
  file.read_ahead(file.bytes().subspan((1 << 20) + 5, 32 << 20));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!(is_cached(1 << 20) && is_cached(33 << 20)) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(is_cached(1 << 20));
  EXPECT_TRUE(is_cached(33 << 20)) << "the range ends in this page";
  EXPECT_FALSE(is_cached(63 << 20)) << "nobody asked for it";
  EXPECT_THROW(file.read_ahead(std::span(file.bytes().data(), file.bytes().size() + 1)), Error);
}

TEST_F(MappedFileTest, APipeIsNoFileToMap) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(MappedFile{pipe}, Error);  // and does not wait for a writer
}

}  // namespace
}  // namespace wan
