#include "weights/checkpoint.h"

#include <gtest/gtest.h>

#include "format/file_builder.h"
#include "support/temp_folder.h"
#include "weights/inspect.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

std::string one_tensor(const std::string& name, char fill) {
  return safetensors_file("{\"" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                          std::string(8, fill));
}

class CheckpointTest : public testing::Test {
 protected:
  Thrown open_thrown(const fs::path& path) const {
    return thrown_by([&] { Checkpoint::open(path); });
  }
  void write_sharded(const std::string& index) const {
    write("m-00001-of-00002.safetensors", one_tensor("a", 1));
    write("m-00002-of-00002.safetensors", one_tensor("b", 2));
    write("m.safetensors.index.json", index);
  }
  fs::path write(const std::string& name, const std::string& content) const {
    return write_test_file(folder_ / name, content);
  }
  test::TempFolder folder_;
};

constexpr const char* kIndex =
    R"({"weight_map":{"b":"m-00002-of-00002.safetensors","a":"m-00001-of-00002.safetensors"}})";

TEST_F(CheckpointTest, JoinsShardsInTheOrderOfNames) {
  write_sharded(kIndex);
  for (const fs::path& path : {folder_.path(), folder_.path() / "m.safetensors.index.json"}) {
    const Checkpoint checkpoint = Checkpoint::open(path);
    ASSERT_EQ(checkpoint.entries().size(), 2u);
    EXPECT_EQ(checkpoint.entries()[0].name, "a");
    EXPECT_EQ(checkpoint.total_bytes(), 16u);
    ASSERT_NE(checkpoint.find("b"), nullptr);
    EXPECT_EQ(checkpoint.find("b")->storage[0], std::byte{2});
    EXPECT_EQ(checkpoint.find("c"), nullptr);
  }
}

TEST_F(CheckpointTest, StaysMappedWhileACopyLives) {
  Checkpoint copy = [&] { return Checkpoint::open(write("m.safetensors", one_tensor("a", 7))); }();
  const Checkpoint last = copy;
  copy = Checkpoint::from_files({}, "none");
  EXPECT_EQ(last.find("a")->storage[7], std::byte{7});
}

TEST_F(CheckpointTest, OpensSingleFilesByFolderNameAndContent) {
  write("single/m.safetensors", one_tensor("a", 1));
  EXPECT_EQ(Checkpoint::open(folder_.path() / "single").entries().size(), 1u);
  EXPECT_EQ(Checkpoint::open(write("weights.bin", one_tensor("a", 1))).entries().size(), 1u);
  EXPECT_EQ(Checkpoint::open(fs::path(WAN_GOLDEN_DIR) / "checkpoints/module.pth").entries().size(), 3u);
}

TEST_F(CheckpointTest, RefusesWhatIsNoCheckpoint) {
  EXPECT_EQ(open_thrown(folder_.path() / "absent").code, "bad_file");
  EXPECT_EQ(open_thrown(folder_.path()).code, "bad_file");
  EXPECT_EQ(open_thrown(write("empty.safetensors", "")).code, "bad_file");
  EXPECT_EQ(open_thrown(write("m.gguf", "GGUF....")).code, "unsupported");
  EXPECT_EQ(open_thrown(write("note.txt", "hello")).code, "bad_file");
  const Thrown pointer = open_thrown(write("p.safetensors", "version https://git-lfs.github.com/spec/v1\n"));
  EXPECT_NE(pointer.message.find("git lfs pull"), std::string::npos) << pointer.message;
}

TEST_F(CheckpointTest, RefusesAFolderWithoutOneCheckpoint) {
  write("a.safetensors", one_tensor("a", 1));
  write("b.safetensors", one_tensor("b", 1));
  EXPECT_NE(open_thrown(folder_.path()).message.find("expected one checkpoint, got 2"), std::string::npos);
  write("a.safetensors.index.json", kIndex);
  write("b.safetensors.index.json", kIndex);
  EXPECT_NE(open_thrown(folder_.path()).message.find("got 2"), std::string::npos);
}

TEST_F(CheckpointTest, OfficialNamesWinAndTheRestIsToldAsIgnored) {
  const auto opened = [&](const std::string& chosen) {
    const Checkpoint checkpoint = Checkpoint::open(folder_.path());
    EXPECT_EQ(checkpoint.file().filename().string(), chosen);
    const auto ignored = checkpoint.ignored_files();
    return std::vector<std::string>(ignored.begin(), ignored.end());
  };
  using Names = std::vector<std::string>;
  const std::string index =
      R"({"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00002-of-00002.safetensors"}})";
  write("any.safetensors", one_tensor("a", 1));
  write("._any.safetensors", std::string("\0\5\26\7", 4));
  write("._x.safetensors.index.json", "");
  write("notes.txt", "");
  EXPECT_EQ(opened("any.safetensors"), (Names{"._any.safetensors", "._x.safetensors.index.json"}));
  write("diffusion_pytorch_model.bf16.safetensors", one_tensor("a", 1));
  EXPECT_EQ(opened("diffusion_pytorch_model.bf16.safetensors").size(), 3u);
  write_sharded(index);
  EXPECT_EQ(opened("m.safetensors.index.json"),
            (Names{"._any.safetensors", "._x.safetensors.index.json", "any.safetensors",
                   "diffusion_pytorch_model.bf16.safetensors"}));
  write("diffusion_pytorch_model.safetensors", one_tensor("a", 1));
  EXPECT_EQ(opened("diffusion_pytorch_model.safetensors").size(), 7u);
  write("diffusion_pytorch_model.safetensors.index.json", index);
  EXPECT_EQ(opened("diffusion_pytorch_model.safetensors.index.json"),
            (Names{"._any.safetensors", "._x.safetensors.index.json", "any.safetensors",
                   "diffusion_pytorch_model.bf16.safetensors", "diffusion_pytorch_model.safetensors",
                   "m.safetensors.index.json"}));
  EXPECT_TRUE(Checkpoint::open(folder_.path() / "any.safetensors").ignored_files().empty());
}

TEST_F(CheckpointTest, ShardsWithoutTheirIndexAreNoSingleFile) {
  write("diffusion_pytorch_model-00001-of-00002.safetensors", one_tensor("a", 1));
  write("diffusion_pytorch_model-00002-of-00002.safetensors", one_tensor("b", 2));
  write("lora.safetensors", one_tensor("c", 3));
  EXPECT_NE(open_thrown(folder_.path())
                .message.find("add the missing diffusion_pytorch_model.safetensors.index.json"),
            std::string::npos);
}

TEST_F(CheckpointTest, TheAttributesOfMacOsAreNamedAsSuch) {
  const fs::path path = write("._a.pth", std::string("\0\5\26\7", 4) + "Mac OS X");
  EXPECT_NE(open_thrown(path).message.find("without \"._\""), std::string::npos) << open_thrown(path).message;
}

TEST_F(CheckpointTest, RefusesIndexAndShardsThatDisagree) {
  write_sharded(R"({"weight_map":{"a":"m-00001-of-00002.safetensors"}})");
  EXPECT_EQ(open_thrown(folder_.path()).code, "");  // the second shard is a file beside it
  write_sharded(R"({"weight_map":{"a":"m-00001-of-00002.safetensors","c":"m-00002-of-00002.safetensors"}})");
  EXPECT_NE(open_thrown(folder_.path()).message.find("'b', which the index does not name"),
            std::string::npos);
  write_sharded(R"({"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00001-of-00002.safetensors"}})");
  EXPECT_NE(open_thrown(folder_.path()).message.find("1 tensors are not in"), std::string::npos);
  write_sharded(R"({"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00003-of-00003.safetensors"}})");
  EXPECT_NE(open_thrown(folder_.path()).message.find("incomplete"), std::string::npos);
  write("m-00002-of-00002.safetensors", one_tensor("a", 3));
  write_sharded(kIndex);
  write("m-00002-of-00002.safetensors", one_tensor("a", 3));
  EXPECT_NE(open_thrown(folder_.path()).message.find("which the index places in"), std::string::npos);
}

TEST_F(CheckpointTest, FollowsLinksOnlyInsideTheFolderAndTheCacheOfTheHub) {
  write("elsewhere/a.safetensors", one_tensor("a", 1));
  fs::create_directories(folder_.path() / "model");
  fs::create_symlink(folder_.path() / "elsewhere/a.safetensors", folder_.path() / "model/a.safetensors");
  write("model/m.safetensors.index.json", R"({"weight_map":{"a":"a.safetensors"}})");
  EXPECT_NE(open_thrown(folder_.path() / "model").message.find("link out of its folder"), std::string::npos);
  fs::remove(folder_.path() / "model/m.safetensors.index.json");
  EXPECT_NE(open_thrown(folder_.path() / "model").message.find("link out of its folder"), std::string::npos);

  write("hub/blobs/0123", one_tensor("a", 1));
  fs::create_directories(folder_.path() / "hub/snapshots/main/high_noise_model");
  fs::create_symlink("../../../blobs/0123",
                     folder_.path() / "hub/snapshots/main/high_noise_model/a.safetensors");
  EXPECT_EQ(Checkpoint::open(folder_.path() / "hub/snapshots/main/high_noise_model").entries().size(), 1u);
}

TEST_F(CheckpointTest, InspectGivesFactsOfEveryCheckpointOfADirectory) {
  write("high/m-00001-of-00002.safetensors", one_tensor("a", 1));
  write("high/m-00002-of-00002.safetensors", one_tensor("b", 2));
  write("high/m.safetensors.index.json", kIndex);
  fs::copy(fs::path(WAN_GOLDEN_DIR) / "checkpoints/dtypes.pth", folder_.path() / "vae.pth");
  const std::vector<CheckpointFacts> facts = inspect_checkpoints(folder_.path());
  ASSERT_EQ(facts.size(), 2u);
  EXPECT_EQ(facts[0].kind, "PyTorch zip");
  EXPECT_EQ(facts[0].dtypes.size(), 8u);
  EXPECT_EQ(facts[0].dtypes.at(DType::kBF16).bytes, 16u);
  EXPECT_EQ(facts[1].kind, "sharded safetensors");
  EXPECT_EQ(facts[1].files.size(), 2u);
  EXPECT_EQ(facts[1].total_bytes, 16u);
  EXPECT_EQ(facts[1].total_elements, 4u);
  EXPECT_EQ(facts[1].dtypes.at(DType::kF32).tensors, 2u);
  EXPECT_EQ(inspect_checkpoints(folder_.path() / "vae.pth").size(), 1u);
  EXPECT_EQ(thrown_by([&] { inspect_checkpoints(folder_.path() / "absent"); }).code, "bad_file");
}

TEST_F(CheckpointTest, InspectListsWhatGenerationReadsAndNamesTheRest) {
  write("high/diffusion_pytorch_model.safetensors", one_tensor("a", 1));
  write("high/lora.safetensors", one_tensor("b", 2));
  write("high/._lora.safetensors", std::string("\0\5\26\7", 4));
  fs::copy(fs::path(WAN_GOLDEN_DIR) / "checkpoints/dtypes.pth", folder_.path() / "vae.pth");
  write("._vae.pth", std::string("\0\5\26\7", 4));
  write("loras/a.safetensors", one_tensor("a", 1));
  write("loras/b.safetensors", one_tensor("b", 2));
  const std::vector<CheckpointFacts> facts = inspect_checkpoints(folder_.path());
  ASSERT_EQ(facts.size(), 4u);
  for (const CheckpointFacts& each : facts) EXPECT_EQ(each.problem, "") << each.path;
  EXPECT_EQ(facts[0].path, (folder_ / "vae.pth").string());
  EXPECT_EQ(facts[0].ignored, std::vector<std::string>{"._vae.pth"});
  EXPECT_EQ(facts[1].path, (folder_ / "high/diffusion_pytorch_model.safetensors").string());
  EXPECT_EQ(facts[1].ignored, (std::vector<std::string>{"._lora.safetensors", "lora.safetensors"}));
  EXPECT_EQ(facts[2].path, (folder_ / "loras/a.safetensors").string());
  EXPECT_TRUE(facts[2].ignored.empty());
}

}  // namespace
}  // namespace wan
