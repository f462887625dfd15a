#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "base/atomic_file.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/memory_info.h"
#include "base/shell_quote.h"
#include "base/untrusted_text.h"
#include "support/page_cache.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

class BaseTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("wan_base_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(BaseTest, CheckThrowsItsCodeAndMessage) {
  try {
    WAN_CHECK(1 == 2, kBadFile, "[test] expected {}, got {}", 1, 2);
    FAIL() << "WAN_CHECK did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_STREQ(error.what(), "[test] expected 1, got 2");
  }
}

TEST_F(BaseTest, CodesMapToDistinctExitStatuses) {
  EXPECT_EQ(exit_status(ErrorCode::kInvalidArgument), 64);
  EXPECT_EQ(exit_status(ErrorCode::kCancelled), 130);
  EXPECT_EQ(http_status(ErrorCode::kUnsupported), 501);
  EXPECT_STREQ(error_code_name(ErrorCode::kBadFile), "bad_file");
}

TEST_F(BaseTest, CheckedMathRefusesOverflowAndNegatives) {
  const std::int64_t big = std::numeric_limits<std::int64_t>::max();
  EXPECT_THROW(checked_mul<std::int64_t>(big, 2, "t"), Error);
  EXPECT_THROW(checked_add<std::int64_t>(big, 1, "t"), Error);
  const std::int64_t overflowing[] = {1LL << 32, 1LL << 32};
  EXPECT_THROW(checked_product(overflowing, "t"), Error);
  const std::int64_t negative[] = {4, -1};
  EXPECT_THROW(checked_product(negative, "t"), Error);
  const std::int64_t fine[] = {3, 0, 5};
  EXPECT_EQ(checked_product(fine, "t"), 0);
}

TEST_F(BaseTest, AtomicFileLeavesNothingUnlessCommitted) {
  const fs::path target = folder_ / "video.mp4";
  {
    AtomicFile file(target);
    EXPECT_EQ(file.temporary_path().extension(), ".mp4");
    std::ofstream(file.temporary_path()) << "half";
  }
  EXPECT_TRUE(fs::is_empty(folder_));
  write_file_atomically(target, "whole");
  std::string content;
  std::ifstream(target) >> content;
  EXPECT_EQ(content, "whole");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(BaseTest, AtomicFileFollowsLinks) {
  fs::create_directory(folder_ / "disk");
  fs::create_symlink("disk/there.mp4", folder_ / "link.mp4");  // dangling at first
  fs::create_symlink(folder_ / "link.mp4", folder_ / "second.mp4");
  for (const char* content : {"first", "again"}) {
    check_writable_target(folder_ / "second.mp4");
    write_file_atomically(folder_ / "second.mp4", content);
    std::string found;
    std::ifstream(folder_ / "disk/there.mp4") >> found;
    EXPECT_EQ(found, content);
    EXPECT_TRUE(fs::is_symlink(folder_ / "second.mp4") && fs::is_symlink(folder_ / "link.mp4"));
  }
  fs::create_symlink("missing/there.mp4", folder_ / "nowhere.mp4");
  EXPECT_THROW(check_writable_target(folder_ / "nowhere.mp4"), Error);
}

TEST_F(BaseTest, WhatKilledProcessesLeftIsRemoved) {
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const auto touch = [&](const std::string& name) { std::ofstream(folder_ / name) << "half"; };
  const std::string abandoned = fmt::format(".video.{}-3.partial.mp4", gone);
  const std::string kept[] = {fmt::format(".video.{}-3.partial.mp4", ::getpid()),
                              fmt::format(".other.{}-3.partial.mp4", gone),
                              fmt::format(".video.{}-3.partial.png", gone),
                              fmt::format(".video.x{}-3.partial.mp4", gone),
                              ".video.-1-3.partial.mp4",
                              "video.mp4"};
  touch(abandoned);
  for (const std::string& name : kept) touch(name);
  check_writable_target(folder_ / "video.mp4");
  EXPECT_FALSE(fs::exists(folder_ / abandoned));
  for (const std::string& name : kept) EXPECT_TRUE(fs::exists(folder_ / name)) << name;
}

TEST_F(BaseTest, WritableTargetIsChecked) {
  EXPECT_NO_THROW(check_writable_target(folder_ / "a.mp4"));
  EXPECT_THROW(check_writable_target(folder_), Error);
  EXPECT_THROW(check_writable_target(folder_ / "missing" / "a.mp4"), Error);
  EXPECT_THROW(check_writable_target(folder_ / std::string(300, 'x')), Error);
}

TEST_F(BaseTest, MappedFileReadsAndRefuses) {
  write_file_atomically(folder_ / "data", "abc");
  const MappedFile file(folder_ / "data");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file.bytes()[2]), 'c');
  write_file_atomically(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THROW(MappedFile{folder_ / "missing"}, Error);
  EXPECT_THROW(MappedFile{folder_}, Error);
}

TEST_F(BaseTest, ReleasedPagesReadTheSameAgain) {
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

TEST_F(BaseTest, ReadAheadBringsPagesIntoTheCache) {
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

TEST_F(BaseTest, APipeIsNoFileToMap) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(MappedFile{pipe}, Error);  // and does not wait for a writer
}

TEST_F(BaseTest, ShellTakesAQuotedPathAsItIs) {
  EXPECT_EQ(shell_quoted("runs/a_b-1.mp4"), "runs/a_b-1.mp4");
  EXPECT_EQ(shell_quoted("two words"), "'two words'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("$(rm *)"), "'$(rm *)'");
  EXPECT_EQ(shell_quoted("a\n$(rm *)'\\\x1b"), "$'a\\012$(rm *)\\047\\134\\033'");
  EXPECT_EQ(shell_quoted("\xe4\x1b"), "$'\\344\\033'");
  EXPECT_EQ(shell_quoted("ä"), "'ä'");
  EXPECT_EQ(shell_quoted("-x"), "./-x");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST_F(BaseTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(shortened("short"), "short");
  std::string umlauts = "x";
  for (int i = 0; i < 1000; ++i) umlauts += "ä";
  const std::string cut = shortened(umlauts);
  EXPECT_LT(cut.size(), 170u);
  EXPECT_TRUE(is_plain_utf8(cut)) << cut;
  EXPECT_EQ(json_reason("[json.exception.parse_error.101] parse error at line 1: bad; last read: 'xyz'"),
            "parse error at line 1: bad");
  EXPECT_EQ(json_reason("plain"), "plain");
}

TEST_F(BaseTest, NothingThatATerminalObeysIsShown) {
  EXPECT_EQ(shown("plain \"ä 猫 🔴\" \\"), "plain \"ä 猫 🔴\" \\");
  EXPECT_EQ(shown("\x1b[31mred\x1b]0;title\a\b\r\n\t\x7f"),
            "\\x1b[31mred\\x1b]0;title\\x07\\x08\\r\\n\\t\\x7f");
  EXPECT_EQ(shown(std::string_view("\0", 1)), "\\x00");
  // One code point that begins a sequence as ESC [ does; a line's end; text that is turned round.
  EXPECT_EQ(shown("\u009b31m \u2028 \u202e \u2066"), "\\u009b31m \\u2028 \\u202e \\u2066");
  EXPECT_EQ(shown("caf\xe9 \x9b \xc3"), "caf\\xe9 \\x9b \\xc3");
  EXPECT_EQ(shown("\xc0\x9b"), "\\xc0\\x9b") << "an overlong form";
  EXPECT_EQ(shortened("a\nb"), "a\\nb");
  EXPECT_EQ(shortened("\x1b" + std::string(1000, 'x') + "\x1b").find('\x1b'), std::string::npos);

  EXPECT_EQ(shown_message("it does not fit:\n  1 missing:\n    a\x1b\nerror: forged\n"),
            "it does not fit:\n  1 missing:\n    a\\x1b\\nerror: forged\\n");
  EXPECT_EQ(shown_json("{\n \"a\": \"\\n\x7f\u009b\u202eä\"\n}"),
            "{\n \"a\": \"\\n\\u007f\\u009b\\u202eä\"\n}");
  EXPECT_EQ(without_controls("a\n\x1b[1m\u009bä\xff", '_'), "a__[1m_ä_");
}

TEST_F(BaseTest, TheLogShowsNoControlCharacters) {
  testing::internal::CaptureStderr();
  log(LogLevel::kError, "could not remove a\x1b[31m\nerror: b");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("could not remove a\\x1b[31m\\nerror: b\n"), std::string::npos) << text;
}

TEST_F(BaseTest, MemoryInfoIsPlausible) {
  EXPECT_GT(peak_resident_bytes(), 1 << 20);
  EXPECT_GT(available_memory_bytes(), 1 << 20);
  EXPECT_GT(program_bytes(), 1 << 18);
  EXPECT_EQ(program_bytes(), program_bytes());
}

}  // namespace
}  // namespace wan
