#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/memory_info.h"
#include "base/same_file.h"
#include "base/shell_quote.h"
#include "base/untrusted_text.h"
#include "support/expect_error.h"
#include "support/full_disk.h"
#include "support/page_cache.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

using test::expect_error;

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

/// The field of what `function` throws.
template <typename Function>
std::string field_of_error(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.field();
  }
  return "no error";
}

TEST_F(BaseTest, AnErrorsFieldIsTheMemberThatItsMessageBeginsWith) {
  EXPECT_EQ(field_of_error([] { fail(ErrorCode::kIo, "`t5_cpu` needs a `device`"); }), "t5_cpu");
  EXPECT_EQ(field_of_error([] { WAN_CHECK(false, kIo, "{}: missing", "`image`"); }), "image");
  EXPECT_EQ(field_of_error([] { fail(ErrorCode::kIo, "choose a smaller `size`"); }), "");
  EXPECT_EQ(field_of_error([] { fail(ErrorCode::kIo, "{}", ""); }), "");
  for (const char* other : {"`", "``", "`size", "`Size` x", "`a b` x", "\\`size` x"})
    EXPECT_EQ(Error(ErrorCode::kIo, other).field(), "") << other;
}

TEST_F(BaseTest, AFieldMayBeSaidApartFromTheMessage) {
  EXPECT_EQ(field_of_error([] { fail_field(ErrorCode::kIo, "task", "use `size`"); }), "task");
  EXPECT_EQ(field_of_error([] { WAN_CHECK_FIELD(false, kIo, "task", "`size` {}", 1); }), "task");
  EXPECT_EQ(field_of_error([] { with_field("image", [] { fail(ErrorCode::kIo, "damaged"); }); }), "image");
  EXPECT_EQ(field_of_error([] { with_field("image", [] { fail(ErrorCode::kIo, "`crf` 99"); }); }), "crf");
  EXPECT_EQ(with_field("image", [] { return 3; }), 3);
}

/// As on a command line.
std::string with_dashes(std::string_view message) {
  return spell_fields(message, [](std::string_view field) { return "--" + std::string(field); });
}

TEST_F(BaseTest, MembersAreSpelledAsTheReaderKnowsThem) {
  EXPECT_EQ(with_dashes("`size` 33*32: choose a smaller `size`, or `residency` streamed"),
            "--size 33*32: choose a smaller --size, or --residency streamed");
  EXPECT_EQ(with_dashes("``size``, `x"), "`--size`, `x");
  EXPECT_EQ(with_dashes("no `Size`, no `a b`, a \\`size\\`"), "no `Size`, no `a b`, a `size`");
  EXPECT_EQ(with_dashes(""), "");
}

TEST_F(BaseTest, TextFromOutsideNamesNoMember) {
  for (const std::string text :
       {"`size`", "``size``", "\\`size\\`", "`", "\\", "\\\\`size`", "a`size`b`", "\\\\", "`size`\\"}) {
    EXPECT_EQ(with_dashes(literal_text(text)), text);
    const std::string_view view = text;
    const std::vector<std::string> list{text, text};
    const std::string message = format_message("`size` {}, {}, {}: `crf`", text, view, fmt::join(list, " "));
    EXPECT_EQ(with_dashes(message), fmt::format("--size {0}, {0}, {0} {0}: --crf", text));
    const auto refused = [&] { fail(ErrorCode::kIo, "{}: damaged", text); };
    EXPECT_EQ(field_of_error(refused), "");
    try {  // and not when the message becomes a part of another
      refused();
    } catch (const Error& error) {
      const MessagePart part{format_message("{}; `crf`", error.what())};
      EXPECT_EQ(with_dashes(format_message("{} {}", part, text)),
                fmt::format("{0}: damaged; --crf {0}", text));
    }
  }
}

TEST_F(BaseTest, LogLinesSpellMembersToo) {
  testing::internal::CaptureStderr();
  log(LogLevel::kError, format_message("`size` {}", "a"));
  set_log_spelling([](std::string_view field) { return "--" + std::string(field); });
  log(LogLevel::kError, format_message("`size` {}", std::string("`crf`")));
  set_log_spelling({});
  const std::string lines = testing::internal::GetCapturedStderr();
  EXPECT_NE(lines.find("`size` a\n"), std::string::npos) << lines;
  EXPECT_NE(lines.find("--size `crf`\n"), std::string::npos) << lines;
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
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile many(folder_ / "video.mp4");
    many.unlock();
    const AtomicFile marker(folder_ / "other.mp4");
    static_cast<void>(::write(ready[1], "x", 1));
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto count = [&] { return std::distance(fs::directory_iterator(folder_), {}); };
  check_writable_target(folder_ / "video.mp4");
  EXPECT_EQ(count(), 2) << "its process lives, and holds another";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  check_writable_target(folder_ / "video.mp4");
  EXPECT_EQ(count(), 1) << "that of other.mp4";
  check_writable_target(folder_ / "other.mp4");
  EXPECT_EQ(count(), 0);
  for (const int end : ready) ::close(end);
}

TEST_F(BaseTest, WhatOthersWriteIsNotRemoved) {
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  // Of a process in another container, whose number means nothing here.
  const fs::path in_use = folder_ / fmt::format(".video.{}-3.partial.mp4", gone);
  const std::string names[] = {".video.5a-3.partial.png",  ".other.5a-3.partial.mp4",
                               ".video.xyz-3.partial.mp4", ".video.-1-3.partial.mp4",
                               ".video.5a-.partial.mp4",   "video.mp4"};
  for (const std::string& name : names) std::ofstream(folder_ / name) << "half";
  fs::create_symlink("video.mp4", folder_ / ".video.5a-4.partial.mp4");
  const int fd = ::open(in_use.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  check_writable_target(folder_ / "video.mp4");
  EXPECT_TRUE(fs::exists(in_use));
  for (const std::string& name : names) EXPECT_TRUE(fs::exists(folder_ / name)) << name;
  EXPECT_TRUE(fs::is_symlink(folder_ / ".video.5a-4.partial.mp4"));
  ::close(fd);
  check_writable_target(folder_ / "video.mp4");
  EXPECT_FALSE(fs::exists(in_use));
}

TEST_F(BaseTest, LocksOfNetworksAreNotTrusted) {
  for (const long type : {0xEF53L, 0x01021994L, 0x58465342L}) EXPECT_TRUE(is_local_file_system(type));
  for (const long type : {0x6969L, 0xFF534D42L, 0x65735546L, 0x01021997L, 0L})  // NFS, CIFS, FUSE, 9p
    EXPECT_FALSE(is_local_file_system(type));
}

TEST_F(BaseTest, OnlyRegularFilesAreReplaced) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", folder_ / "link.mp4");
  // A device of our own: root could lose that of the machine.
  const bool is_root = ::mknod((folder_ / "full").c_str(), S_IFCHR | 0600, ::makedev(1, 7)) == 0;
  fs::create_symlink(is_root ? folder_ / "full" : folder_ / "pipe", folder_ / "full.mp4");
  fs::create_symlink("circle.mp4", folder_ / "circle.mp4");
  std::ofstream(folder_ / "file") << "x";
  for (const auto& refused : {std::pair{"pipe", "it is a pipe"},
                              {"link.mp4", "it is a pipe"},
                              {"full.mp4", is_root ? "it is a device" : "it is a pipe"},
                              {"circle.mp4", "links lead in a circle"}}) {
    const fs::path path = folder_ / refused.first;
    expect_error(ErrorCode::kInvalidArgument, refused.second, [&] { check_writable_target(path); });
    expect_error(ErrorCode::kIo, refused.second, [&] { write_file_atomically(path, "new"); });
  }
  expect_error(ErrorCode::kInvalidArgument, "the folder " + (folder_ / "file").string() + " is none",
               [&] { check_writable_target(folder_ / "file" / "a.mp4"); });
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
  EXPECT_EQ(fs::is_character_file(folder_ / "full"), is_root);
  {
    AtomicFile file(folder_ / "late.mp4");
    ASSERT_EQ(::mkfifo((folder_ / "late.mp4").c_str(), 0600), 0);
    expect_error(ErrorCode::kIo, "something else", [&] { file.commit(); });
  }
  EXPECT_TRUE(fs::is_fifo(folder_ / "late.mp4"));
}

TEST_F(BaseTest, AReplacedFileKeepsItsAccess) {
  const fs::path path = folder_ / "video.mp4";
  std::ofstream(path) << "old";
  struct stat before {
  }, after{};
  for (const mode_t mode : {0600u, 0640u, 0664u, 0444u}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    if (::geteuid() == 0) {
      ASSERT_EQ(::chown(path.c_str(), 12345, 23456), 0);
    }
    ::stat(path.c_str(), &before);
    AtomicFile file(path);
    ::stat(file.temporary_path().c_str(), &after);
    EXPECT_EQ(after.st_mode & 0077u & ~mode, 0u) << "others must not read it meanwhile";
    std::ofstream(file.temporary_path()) << "new";
    file.commit();
    ::stat(path.c_str(), &after);
    EXPECT_EQ(after.st_mode, before.st_mode);
    EXPECT_EQ(after.st_uid, before.st_uid);
    EXPECT_EQ(after.st_gid, before.st_gid);
    EXPECT_NE(after.st_ino, before.st_ino);
  }
  const mode_t mask = ::umask(027);
  write_file_atomically(folder_ / "new.mp4", "new");
  ::umask(mask);
  ::stat((folder_ / "new.mp4").c_str(), &after);
  EXPECT_EQ(after.st_mode & 0777u, 0640u);
}

TEST_F(BaseTest, OtherNamesOfAReplacedFileShowIt) {
  const auto content = [&](const char* name) {
    std::ifstream stream(folder_ / name);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  std::ofstream(folder_ / "a.mp4") << std::string(5000, 'o');
  fs::create_hard_link(folder_ / "a.mp4", folder_ / "b.mp4");
  check_writable_target(folder_ / "a.mp4");
  EXPECT_EQ(content("b.mp4"), std::string(5000, 'o'));
  const std::string large(3 << 20, 'n');
  for (const std::string& text : {large, std::string("short"), std::string()}) {
    write_file_atomically(folder_ / "a.mp4", text);
    EXPECT_EQ(content("a.mp4"), text);
    EXPECT_EQ(content("b.mp4"), text);
  }
  EXPECT_EQ(fs::hard_link_count(folder_ / "a.mp4"), 2u);
  // A disk without room for it leaves both as they were.
  write_file_atomically(folder_ / "a.mp4", "old");
  {
    AtomicFile file(folder_ / "a.mp4");
    std::ofstream(file.temporary_path()) << large;
    const test::FileSizeLimit limit(4096);
    expect_error(ErrorCode::kIo, "File too large", [&] { file.commit(); });
  }
  EXPECT_EQ(content("a.mp4"), "old");
  EXPECT_EQ(content("b.mp4"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

TEST_F(BaseTest, WhatCannotBeCopiedInPlaceIsKeptBesideIt) {
  const test::SmallDisk disk(folder_, 0, "ramfs");  // it cannot tell beforehand that there is no room
  if (!disk.mounted()) GTEST_SKIP() << "mounting needs root's rights";
  std::ofstream(folder_ / "a.mp4") << "old";
  fs::create_hard_link(folder_ / "a.mp4", folder_ / "b.mp4");
  {
    AtomicFile file(folder_ / "a.mp4");
    std::ofstream(file.temporary_path()) << std::string(3 << 20, 'n');
    const test::FileSizeLimit limit(4096);
    expect_error(ErrorCode::kIo, "all of it is in " + (folder_ / "a.whole.mp4").string(),
                 [&] { file.commit(); });
  }
  EXPECT_EQ(fs::file_size(folder_ / "a.whole.mp4"), 3u << 20);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 3);
}

TEST_F(BaseTest, FilesAreToldApartByWhatTheyAre) {
  std::ofstream(folder_ / "image.png") << "x";
  fs::create_hard_link(folder_ / "image.png", folder_ / "hard.png");
  fs::create_symlink("image.png", folder_ / "soft.png");
  fs::create_directory_symlink(".", folder_ / "here");
  fs::create_symlink("new.png", folder_ / "dangling.png");
  const NamedFile image{"`image`", folder_ / "image.png"};
  for (const fs::path name :
       {"image.png", "hard.png", "soft.png", "here/image.png", "./here/here/hard.png"}) {
    const NamedFile video{"`save_file`", folder_ / name};
    expect_error(ErrorCode::kInvalidArgument, "would overwrite `image`",
                 [&] { check_files_apart(std::span(&video, 1), std::span(&image, 1)); });
    EXPECT_TRUE(is_same_file(folder_ / name, image.path)) << name;
  }
  const NamedFile both_new[] = {{"`save_file`", folder_ / "dangling.png"},
                                {"`dump_dir`", folder_ / "here/new.png"}};
  expect_error(ErrorCode::kInvalidArgument,
               "`dump_dir` " + both_new[1].path.string() + " would overwrite `save_file`",
               [&] { check_files_apart(both_new, {}); });
  EXPECT_FALSE(is_same_file(both_new[0].path, both_new[1].path)) << "neither is there";
  const NamedFile and_folder[] = {{"`save_file`", folder_ / "new.mp4"}, {"`dump_dir`", folder_ / "new.mp4/"}};
  expect_error(ErrorCode::kInvalidArgument, "would overwrite", [&] { check_files_apart(and_folder, {}); });
  const NamedFile apart[] = {{"`save_file`", folder_ / "a.png"},
                             {"`dump_dir`", folder_ / "b.png"},
                             {"`save_latents`", folder_ / "nowhere/a"},
                             {"", folder_ / "nowhere/a"}};
  EXPECT_NO_THROW(check_files_apart(apart, std::span(&image, 1)));
  const NamedFile twice[] = {image, image};
  EXPECT_NO_THROW(check_files_apart({}, twice)) << "reading twice is no harm";
}

TEST_F(BaseTest, WhatOneRunWritesIsNoFileOfAnothers) {
  fs::create_directory_symlink(".", folder_ / "here");
  const auto file = [&](const char* name, const char* path) { return NamedFile{name, folder_ / path}; };
  const auto add = [](FileUses& uses, const std::vector<NamedFile>& written,
                      const std::vector<NamedFile>& read) { uses.add(written, read); };
  std::ofstream(folder_ / "image.png") << "x";
  FileUses uses;
  add(uses, {file("line 1's --save_file", "a.mp4")}, {file("line 1's --image", "image.png")});
  add(uses, {file("line 2's --save_file", "b.mp4")}, {file("line 2's --image", "here/image.png")});
  expect_error(ErrorCode::kInvalidArgument, "would overwrite line 1's --save_file",
               [&] { add(uses, {file("line 3's --save_file", "here/a.mp4")}, {}); });
  expect_error(ErrorCode::kInvalidArgument, "would overwrite line 1's --image",
               [&] { add(uses, {file("line 3's --dump", "here/image.png")}, {}); });
  expect_error(ErrorCode::kInvalidArgument, "is what line 2's --save_file", [&] {
    add(uses, {file("line 3's --save_file", "c.mp4")}, {file("line 3's --from_latents", "here/b.mp4")});
  });
  EXPECT_NO_THROW(add(uses, {file("line 4's --save_file", "c.mp4")}, {})) << "line 3 is not made";
  const std::vector<NamedFile> own = {file("line 5's latents", "d.safetensors")};
  EXPECT_NO_THROW(add(uses, own, own)) << "latents go on in their own file";
}

TEST_F(BaseTest, WhatTheSystemRefusesIsToldWithARemedy) {
  fs::create_symlink("circle", folder_ / "circle");
  std::ofstream(folder_ / "b") << "x";
  fs::create_symlink("nothing", folder_ / "a");
  EXPECT_EQ(file_kind(folder_ / "a"), FileKind::kNothing);
  EXPECT_EQ(file_kind(folder_ / "b"), FileKind::kRegular);
  EXPECT_FALSE(file_exists(folder_ / "b" / "c"));
  EXPECT_TRUE(is_folder(folder_));
  const fs::path long_name = folder_ / std::string(300, 'x');
  for (const auto& refused : {std::pair{folder_ / "circle", "Too many levels of symbolic links; its"},
                              {folder_ / "circle" / "x", "links lead in a circle"},
                              {long_name, "File name too long; name a shorter path"}}) {
    const auto& path = refused.first;
    const char* reason = refused.second;
    expect_error(ErrorCode::kBadFile, reason, [&] { file_exists(path); });
    expect_error(ErrorCode::kBadFile, reason, [&] { is_folder(path); });
    expect_error(ErrorCode::kBadFile, reason, [&] { list_folder(path); });
    expect_error(ErrorCode::kBadFile, reason, [&] { real_path(path); });
    expect_error(ErrorCode::kBadFile, reason, [&] { MappedFile{path}; });
    expect_error(ErrorCode::kBadFile, path.string(), [&] { file_exists(path); });
  }
  expect_error(ErrorCode::kBadFile, "No such file or directory; check the path",
               [&] { list_folder(folder_ / "missing"); });
  EXPECT_EQ(list_folder(folder_), (std::vector<fs::path>{folder_ / "a", folder_ / "b", folder_ / "circle"}));
  const char* before = std::getenv("TMPDIR");
  const std::string temporary = before == nullptr ? "" : before;
  ::setenv("TMPDIR", (folder_ / "missing").c_str(), 1);
  expect_error(ErrorCode::kBadFile, "name one in TMPDIR", [] { temporary_folder(); });
  before == nullptr ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", temporary.c_str(), 1);
  if (::geteuid() == 0) return;
  fs::create_directory(folder_ / "closed");
  fs::permissions(folder_ / "closed", fs::perms::none);
  expect_error(ErrorCode::kBadFile, "Permission denied; give", [&] { list_folder(folder_ / "closed"); });
  expect_error(ErrorCode::kBadFile, "Permission denied; give", [&] { file_exists(folder_ / "closed/x"); });
  expect_error(ErrorCode::kInvalidArgument, "Permission denied; give",
               [&] { check_writable_target(folder_ / "closed/x"); });
  fs::permissions(folder_ / "closed", fs::perms::owner_all);
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

/// Reads all of it.
std::size_t count_of(char letter, std::span<const std::byte> bytes) {
  return static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), std::byte(letter)));
}

TEST_F(BaseTest, AFileCutShortIsAnErrorAndNotTheEnd) {
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

TEST_F(BaseTest, OtherBusErrorsAreWhatTheyWere) {
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
  const std::int64_t before = private_bytes();
  EXPECT_GT(before, 0);
  const std::vector<char> more(64 << 20, 1);
  EXPECT_NEAR(static_cast<double>(private_bytes() - before), static_cast<double>(more.size()), 1.6e7);
}

}  // namespace
}  // namespace wan
