// Files told apart by what they are, and what the system says of those that cannot be read.

#include "base/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/same_file.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

using test::expect_error;

class FilesTest : public testing::Test {
 protected:
  test::TempFolder own_;
  fs::path folder_ = own_.path();
};

TEST_F(FilesTest, FilesAreToldApartByWhatTheyAre) {
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

TEST_F(FilesTest, WhatOneRunWritesIsNoFileOfAnothers) {
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

TEST_F(FilesTest, WhatTheSystemRefusesIsToldWithARemedy) {
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

}  // namespace
}  // namespace wan
