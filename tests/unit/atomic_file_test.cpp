// Files that appear under their names only when they are whole: links, other names, access, and what killed processes left.

#include "base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "base/error.h"
#include "support/expect_error.h"
#include "support/full_disk.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

using test::expect_error;

class AtomicFileTest : public testing::Test {
 protected:
  test::TempFolder own_;
  fs::path folder_ = own_.path();
};

TEST_F(AtomicFileTest, AtomicFileLeavesNothingUnlessCommitted) {
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

TEST_F(AtomicFileTest, AtomicFileFollowsLinks) {
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

TEST_F(AtomicFileTest, WhatKilledProcessesLeftIsRemoved) {
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

TEST_F(AtomicFileTest, WhatOthersWriteIsNotRemoved) {
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

TEST_F(AtomicFileTest, LocksOfNetworksAreNotTrusted) {
  for (const long type : {0xEF53L, 0x01021994L, 0x58465342L}) EXPECT_TRUE(is_local_file_system(type));
  for (const long type : {0x6969L, 0xFF534D42L, 0x65735546L, 0x01021997L, 0L})  // NFS, CIFS, FUSE, 9p
    EXPECT_FALSE(is_local_file_system(type));
}

TEST_F(AtomicFileTest, OnlyRegularFilesAreReplaced) {
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

TEST_F(AtomicFileTest, AReplacedFileKeepsItsAccess) {
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

TEST_F(AtomicFileTest, OtherNamesOfAReplacedFileShowIt) {
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

TEST_F(AtomicFileTest, WhatCannotBeCopiedInPlaceIsKeptBesideIt) {
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

TEST_F(AtomicFileTest, WritableTargetIsChecked) {
  EXPECT_NO_THROW(check_writable_target(folder_ / "a.mp4"));
  EXPECT_THROW(check_writable_target(folder_), Error);
  EXPECT_THROW(check_writable_target(folder_ / "missing" / "a.mp4"), Error);
  EXPECT_THROW(check_writable_target(folder_ / std::string(300, 'x')), Error);
}

}  // namespace
}  // namespace wan
