// config.json and preprocessor_config.json of audio encoders: damaged ones and other models', and what of a checkpoint is amiss.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "json/strict_json.h"
#include "models/wav2vec2/wav2vec2.h"
#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "weights/block_residency.h"

namespace wan {
namespace {

using test::expect_error;
using test::TempFolder;

nlohmann::json golden_config() {
  return read_json_file(test::golden_path("audio/encoders/heads3/config.json"), 4);
}

void write(const std::filesystem::path& path, const nlohmann::json& values) {
  std::ofstream(path) << values;
}

TEST(Wav2Vec2ConfigFile, IsReadWithItsDefaults) {
  const TempFolder folder;
  write(folder / "config.json", golden_config());
  const Wav2Vec2Config config = read_wav2vec2_config(folder.path());
  EXPECT_EQ(config.dim, 48);
  EXPECT_EQ(config.convolutions.size(), 7u);
  EXPECT_EQ(config.states(399), 0);
  EXPECT_EQ(config.states(400), 1);
  EXPECT_EQ(config.states(16'000), 49);
  EXPECT_TRUE(config.normalizes);
  write(folder / "preprocessor_config.json", {{"do_normalize", false}, {"sampling_rate", 16000}});
  EXPECT_FALSE(read_wav2vec2_config(folder.path()).normalizes);
  write(folder / "preprocessor_config.json", {{"sampling_rate", 8000}});
  expect_error(ErrorCode::kUnsupported, "16000 samples a second, got 8000",
               [&] { read_wav2vec2_config(folder.path()); });
}

TEST(Wav2Vec2ConfigFile, OtherModelsAndContradictionsAreRefused) {
  const TempFolder folder;
  const auto refused = [&](ErrorCode code, const char* part, const nlohmann::json& change) {
    nlohmann::json config = golden_config();
    config.merge_patch(change);
    write(folder / "config.json", config);
    expect_error(code, part, [&] { read_wav2vec2_config(folder.path()); });
  };
  refused(ErrorCode::kUnsupported, "\"model_type\" is \"hubert\"", {{"model_type", "hubert"}});
  refused(ErrorCode::kUnsupported, "feat_extract_norm", {{"feat_extract_norm", "group"}});
  refused(ErrorCode::kUnsupported, "do_stable_layer_norm", {{"do_stable_layer_norm", false}});
  refused(ErrorCode::kUnsupported, "conv_bias", {{"conv_bias", false}});
  refused(ErrorCode::kUnsupported, "hidden_act", {{"hidden_act", "relu"}});
  refused(ErrorCode::kUnsupported, "adapters", {{"adapter_attn_dim", 16}});
  refused(ErrorCode::kBadFile, "hidden_size", {{"hidden_size", 0}});
  refused(ErrorCode::kBadFile, "hidden_size", {{"hidden_size", nullptr}});
  refused(ErrorCode::kBadFile, "heads", {{"num_attention_heads", 5}});
  refused(ErrorCode::kBadFile, "groups", {{"num_conv_pos_embedding_groups", 7}});
  refused(ErrorCode::kBadFile, "members", {{"conv_stride", {5, 2}}});
  refused(ErrorCode::kBadFile, "members",
          {{"conv_stride", nlohmann::json::array()},
           {"conv_dim", nlohmann::json::array()},
           {"conv_kernel", nlohmann::json::array()}});
  refused(ErrorCode::kBadFile, "convolution 0", {{"conv_stride", {11, 2, 2, 2, 2, 2, 2}}});
  refused(ErrorCode::kBadFile, "less than one of",
          {{"conv_kernel", {64, 64, 64, 64, 64, 64, 64}}, {"conv_stride", {64, 64, 64, 64, 64, 64, 64}}});
  refused(ErrorCode::kBadFile, "epsilon", {{"layer_norm_eps", 0}});
  std::ofstream(folder / "config.json") << "{";
  expect_error(ErrorCode::kBadFile, "config.json", [&] { read_wav2vec2_config(folder.path()); });
  expect_error(ErrorCode::kBadFile, "config.json", [&] { read_wav2vec2_config(folder / "none"); });
}

TEST(Wav2Vec2Checkpoint, MissingAndStrangeTensorsAreListed) {
  const auto folder = test::golden_path("audio/encoders/heads3");
  WeightReport report(Checkpoint::open(folder), "audio encoder");
  const WeightScope scope = WeightScope::describing(report);
  Wav2Vec2Config config = read_wav2vec2_config(folder);
  config.num_layers = 2;  // of three
  config.position_groups = 2;
  const auto residency = make_residency({{wav2vec2_scope(scope), wav2vec2_block_layout(config), 2}}, {});
  const Wav2Vec2 encoder(config, scope, *residency, 0, "");
  EXPECT_TRUE(report.missing().empty());
  EXPECT_EQ(report.misshaped().size(), 1u);  // the positional convolution's
  EXPECT_EQ(report.unused().size(), 16u);    // the third layer; the words' head is none of them
}

}  // namespace
}  // namespace wan
