// What downloads stand on: content sums, hubs' names and paths, the published models against the tasks that read them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include "download/digest.h"
#include "download/hub.h"
#include "download/published_models.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "tasks/task_table.h"
#include "wan/download.h"

namespace wan::test {
namespace {

template <typename Sum>
std::string sum_of(const std::string& text, std::size_t piece, Sum sum = Sum()) {
  for (std::size_t at = 0; at < text.size(); at += piece)
    sum.update(std::as_bytes(std::span(text).subspan(at, std::min(piece, text.size() - at))));
  return sum.finish();
}

// Python's hashlib, of "abc" again and again; lengths about a block's 64 bytes, whose last 8 are the length's.
TEST(Digest, EqualsHashlibHoweverTheContentComes) {
  struct Case {
    std::size_t bytes;
    const char* sha256;
    const char* sha1;
  };
  const Case cases[] = {
      {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
       "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
      {3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
       "a9993e364706816aba3e25717850c26c9cd0d89d"},
      {55, "61fd29acc674f5bf68ff548a1aef2a05ba3523a9ba8e5c82b194cbbfdf28bf1f",
       "4effb98c293fd08a71836999f04d138e37ff0219"},
      {56, "63bb88000afff2d2569ece88877c4271c9f28de8620585c27538ce4e5a3701bb",
       "8fd0987f1845c411d8b54323a612be7538964334"},
      {63, "23fdd92cd8f2cdf8d057479d7bc39d74d0bd90bef2191627dcc9936102a2e90f",
       "1ccc82318ae9865b3319ae9ec0da78935377a969"},
      {64, "9ed060c766efa8e4a9e451aef0915daf135de966d62728466cc7215baf33c0a2",
       "757aaa41f35070700a8103c6a602ee242e38be08"},
      {119, "f40afa97f59f48e074e3adfbd9b8014d4b57293fb4b258fe3a0849e4ca44af8b",
       "5960af1047ddca5cc722bd7bbbac41a25b49f6ba"},
      {1000, "3cf64b5ba8e8748e2d66fa0df805d550ab15f0ae76b9ec99ba87d656c00420f5",
       "670e967b74615e80405ae35fe6103f7f9c0a59f3"},
  };
  for (const Case& c : cases) {
    std::string text;
    for (std::size_t i = 0; i < c.bytes; ++i) text += "abc"[i % 3];
    for (const std::size_t piece : {1, 7, 63, 64, 65, 100'000}) {
      EXPECT_EQ(sum_of<Sha256>(text, piece), c.sha256) << c.bytes << " bytes by " << piece;
      EXPECT_EQ(sum_of(text, piece, Sha256(Sha256::Code::kPlain)), c.sha256)
          << c.bytes << " bytes by " << piece;
      EXPECT_EQ(sum_of<Sha1>(text, piece), c.sha1) << c.bytes << " bytes by " << piece;
    }
  }
}

TEST(PublishedModels, AreThoseThatTasksRead) {
  for (const Task* const task : all_tasks()) {
    const TaskFacts& facts = task->facts();
    const PublishedFiles* const published = find_published(facts.name);
    ASSERT_NE(published, nullptr) << facts.name;
    EXPECT_EQ(published->repository, "Wan-AI/" + std::string(facts.checkpoint));
    const auto has = [&](const std::string& pattern) {
      return std::ranges::find(published->patterns, pattern) != published->patterns.end();
    };
    EXPECT_TRUE(has(std::string(facts.vae_file()))) << facts.name;
    for (const std::string_view folder : facts.transformers)
      EXPECT_TRUE(has(folder == "." ? "config.json" : std::string(folder) + "/config.json")) << facts.name;
    EXPECT_EQ(has("wav2vec2-large-xlsr-53-english/model.safetensors"), facts.takes_sound) << facts.name;
  }
}

TEST(Hub, NamesAndPathsStayInTheirFolder) {
  for (const char* name : {"Wan-AI/Wan2.2-T2V-A14B", "a/b", "A_1/x.y-z"})
    EXPECT_TRUE(is_repository_name(name)) << name;
  for (const char* name :
       {"", "a", "a/", "/a", "a/b/c", "../a", "a/..", "a/.b", "a/-b", "a b/c", "a/b..c", "a/b\n", "é/a"})
    EXPECT_FALSE(is_repository_name(name)) << name;
  for (const char* path : {"a", "a/b/c.d", ".gitattributes", "a b/ü..pth"})
    EXPECT_NO_THROW(check_hub_path(path)) << path;
  for (const char* path : {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\nb", "\xff"})
    expect_error(ErrorCode::kBadFile, "would not stay in its folder", [&] { check_hub_path(path); });
}

TEST(DownloadedFolder, IsFoundByEveryNameOfAModel) {
  const TempFolder folder;
  ::setenv("WAN_MODELS", folder.path().c_str(), 1);
  EXPECT_EQ(downloaded_folder("t2v-A14B"), std::nullopt);
  const std::filesystem::path model = model_folder("Wan-AI/Wan2.2-T2V-A14B");
  EXPECT_EQ(model, folder / "Wan-AI/Wan2.2-T2V-A14B");
  std::filesystem::create_directories(model);
  for (const char* name : {"t2v-A14B", "Wan-AI/Wan2.2-T2V-A14B", "Wan2.2-T2V-A14B"})
    EXPECT_EQ(downloaded_folder(name), model) << name;
  for (const char* name : {"i2v-A14B", "Wan-AI", "..", ".", "", "Wan-AI/..", "other/Wan2.2-T2V-A14B"})
    EXPECT_EQ(downloaded_folder(name), std::nullopt) << name;
  ::unsetenv("WAN_MODELS");
  ::setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(model_folder("a/b"), "/data/wan/models/a/b");
  ::unsetenv("XDG_DATA_HOME");
}

}  // namespace
}  // namespace wan::test
