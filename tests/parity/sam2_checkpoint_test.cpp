// What the video segmenter takes: checkpoints, key frames, videos of several chunks; and what is done with masks on the host.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "models/sam2/masks.h"
#include "models/sam2/memory.h"
#include "support/expect_error.h"
#include "support/sam2_model.h"

namespace wan::test {
namespace {

using sam2::KeyFrame;

/// The golden segmenter of plain arithmetic, with an edit of its weights.
void load_edited(const std::function<void(RuleWeights&)>& edit) {
  RuleWeights weights(golden_path("sam2/weights.txt"));
  edit(weights);
  const GoldenFile golden(golden_path("sam2/absent.safetensors"));
  LoadedSegmenter(weights, golden_settings(golden), all_kernels().back());
}

TEST(Sam2, RefusesOtherKindsByNameAndListsWhatIsMissing) {
  load_edited([](RuleWeights&) {});
  const auto with = [](const char* name, const Shape& shape) {
    return [name, shape](RuleWeights& weights) { weights.add(name, 0.0, 1.0, shape); };
  };
  expect_error(ErrorCode::kUnsupported, "SAM 2.1", [&] {
    load_edited(with("no_obj_embed_spatial", {1, 16}));
  });
  expect_error(ErrorCode::kUnsupported, "the first SAM", [&] {
    load_edited(with("image_encoder.patch_embed.proj.weight", {8, 3, 16, 16}));
  });
  expect_error(ErrorCode::kBadFile, "nobody.weight", [&] { load_edited(with("nobody.weight", {3})); });
  for (const char* name :
       {"image_encoder.trunk.blocks.5.attn.qkv.bias", "memory_encoder.fuser.layers.1.dwconv.weight",
        "memory_attention.layers.1.cross_attn_image.k_proj.weight",
        "sam_mask_decoder.output_upscaling.3.weight", "sam_prompt_encoder.point_embeddings.1.weight",
        "no_obj_ptr"})
    expect_error(ErrorCode::kBadFile, name, [&] { load_edited([&](RuleWeights& w) { w.drop(name); }); });
  expect_error(ErrorCode::kUnsupported, "16 channels and stages of 1, 2, 3, 2 blocks", [] {
    const RuleWeights weights(golden_path("sam2/weights.txt"));
    WeightReport report(weights.checkpoint(), "video segmenter");
    sam2::read_config(WeightScope::describing(report));
  });
}

TEST(Sam2, KnowsThePublishedSizes) {
  // Of a trunk there are but the tensors that tell its size.
  const auto settings_of = [](std::int64_t channels, const std::vector<int>& stages) {
    RuleWeights weights(golden_path("sam2/weights.txt"));
    for (const std::string& name : weights.names("image_encoder.trunk.")) weights.drop(name);
    const std::string trunk = "image_encoder.trunk.";
    weights.add(trunk + "patch_embed.proj.weight", 0, 1, {channels, 3, 7, 7});
    weights.add(trunk + "pos_embed", 0, 1, {1, channels, 7, 7});
    weights.add(trunk + "pos_embed_window", 0, 1, {1, channels, 8, 8});
    int block = 0;
    for (const int count : stages) {
      for (int i = 0; i < count; ++i, ++block) {
        const std::string name = trunk + "blocks." + std::to_string(block) + ".";
        weights.add(name + "norm2.weight", 0, 1, {channels});
        weights.add(name + "mlp.layers.0.weight", 0, 1, {4, channels});
      }
      channels *= 2;
    }
    WeightReport report(weights.checkpoint(), "video segmenter");
    return sam2::read_config(WeightScope::describing(report));
  };
  const sam2::Config large = settings_of(144, {2, 6, 36, 4});
  EXPECT_EQ(large.settings.windows, (std::vector<std::int64_t>{8, 4, 16, 8}));
  EXPECT_EQ(large.stage_ends, (std::vector<int>{1, 7, 43, 47}));
  EXPECT_EQ(large.blocks[2].window, 8) << "a stage's first block has the windows of the one before";
  EXPECT_EQ(large.blocks[8].heads, 8);
  EXPECT_EQ(large.blocks[33].window, 0);
  EXPECT_EQ(large.grid(), 64);
  EXPECT_EQ(settings_of(96, {1, 2, 7, 2}).settings.global_blocks, (std::vector<std::int64_t>{5, 7, 9}));
  EXPECT_EQ(settings_of(96, {1, 2, 11, 2}).settings.first_heads, 1);
  EXPECT_EQ(settings_of(112, {2, 3, 16, 3}).settings.global_blocks, (std::vector<std::int64_t>{12, 16, 20}));
}

TEST(Sam2, ChoosesTheOfficialKeyFrames) {
  using Keys = std::vector<std::int64_t>;
  EXPECT_EQ(sam2::key_frames_of(0), Keys());
  EXPECT_EQ(sam2::key_frames_of(1), Keys{0});
  EXPECT_EQ(sam2::key_frames_of(4), Keys{0});
  EXPECT_EQ(sam2::key_frames_of(5), (Keys{0, 1, 2, 3, 4}));
  EXPECT_EQ(sam2::key_frames_of(400), (Keys{0, 100, 200, 300}));
  EXPECT_EQ(sam2::key_frames_of(106), (Keys{0, 26, 52, 78, 104}));
}

TEST(Sam2, DividesAVideoAndRefusesKeyFramesThatAreNone) {
  const GoldenFile golden(golden_path("sam2/absent.safetensors"));
  const RuleWeights weights(golden_path("sam2/weights.txt"));
  sam2::Settings settings = golden_settings(golden);
  settings.chunk_frames = 8;
  LoadedSegmenter loaded(weights, settings, all_kernels().back());
  loaded.ctx.taps = {};
  const auto read = [](std::int64_t frame) { return video_frame(frame == 2 ? 30 : 40, 24, frame); };
  const auto segment = [&](std::int64_t frames, std::vector<KeyFrame> keys) {
    loaded.segmenter.segment_chunk(loaded.ctx, frames, keys, read, [](std::int64_t, auto) {});
  };
  std::vector<sam2::Point> point{{3.0f, 4.0f}};
  expect_error(ErrorCode::kInvalidArgument, "key frames in order", [&] { segment(2, {}); });
  expect_error(ErrorCode::kInvalidArgument, "key frames in order", [&] { segment(2, {{1, point}}); });
  expect_error(ErrorCode::kInvalidArgument, "key frames in order", [&] {
    segment(1, {{0, point}, {1, point}});
  });
  expect_error(ErrorCode::kInvalidArgument, "key frames in order", [&] {
    segment(2, {{0, point}, {0, point}});
  });
  expect_error(ErrorCode::kInvalidArgument, "frame 1 has none", [&] { segment(2, {{0, point}, {1, {}}}); });
  expect_error(ErrorCode::kInvalidArgument, "frame 2 of the video has 30x24 pixels", [&] {
    segment(3, {{0, point}});
  });

  // A chunk begins from nothing: its masks are those of a video of its own.
  std::vector<std::int64_t> asked, told;
  const auto masks_of = [&](std::int64_t frames) {
    std::vector<std::vector<std::uint8_t>> masks;
    asked.clear();
    told.clear();
    loaded.segmenter.segment(
        loaded.ctx, frames,
        [&](std::int64_t frame) {
          asked.push_back(frame);
          return std::vector(point);
        },
        [](std::int64_t frame) { return video_frame(20, 16, frame % 8); },
        [&](std::int64_t frame, std::span<const std::uint8_t> mask) {
          told.push_back(frame);
          masks.emplace_back(mask.begin(), mask.end());
        });
    return masks;
  };
  const auto alone = masks_of(2);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{0}));
  const auto all = masks_of(8 + 2);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{0, 2, 4, 6, 8}));
  ASSERT_EQ(told.size(), 10u);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_EQ(all[8], alone[0]);
  EXPECT_EQ(all[9], alone[1]);
}

TEST(Sam2, RemembersAsMuchAsALaterFrameAsksFor) {
  sam2::Config config{};
  config.memories = 4;
  config.settings.most_pointers = 6;
  sam2::MemoryBank bank(config);
  const auto memory = [] {
    return sam2::FrameMemory{.features = Tensor(DType::kBF16, {1, 1}),
                             .pointer = Tensor(DType::kF32, {1, 1})};
  };
  constexpr std::int64_t kFrames = 60;
  bank.add_key(0, memory());
  bank.add_key(40, memory());
  for (std::int64_t frame = 1; frame < kFrames; ++frame) {
    if (frame == 40) continue;
    const auto seen = bank.memories_for(frame);
    const auto near_key = [&](std::int64_t back) { return frame > 40 && frame - 40 <= back ? 1 : 0; };
    EXPECT_EQ(static_cast<std::int64_t>(seen.size()), 2 + std::min<std::int64_t>(frame - 1, 3) - near_key(3));
    for (const auto& one : seen) EXPECT_FALSE(one.features->empty()) << frame;
    EXPECT_EQ(static_cast<std::int64_t>(bank.pointers_for(frame, kFrames).size()),
              (frame > 40 ? 2 : 1) + std::min<std::int64_t>(frame - 1, 5) - near_key(5));
    bank.add(frame, memory());
    EXPECT_LE(bank.kept(), 7u);
  }
  EXPECT_EQ(bank.memories_for(kFrames).back().place, 3) << "the newest";
  EXPECT_EQ(bank.memories_for(kFrames).front().place, 0) << "a key frame";
}

TEST(Sam2, RunsInBf16) {
  const GoldenFile golden(golden_path("sam2/tracked.safetensors"));
  const RuleWeights weights(golden_path("sam2/weights.txt"));
  LoadedSegmenter loaded(weights, golden_settings(golden), all_kernels().back(), DType::kBF16);
  loaded.segmenter.segment_chunk(
      loaded.ctx, 2, std::vector<KeyFrame>{{0, {{40, 30}, {52, 41}, {61.5f, 20.25f}}}},
      [](std::int64_t frame) { return video_frame(90, 70, frame); }, [](std::int64_t, auto) {});
  // Weights and products' inputs are rounded, 1.7e-3 of a value each, through eight blocks.
  for (const char* name : {"image_encoder.coarse", "image_encoder.fine", "sam_mask_decoder.masks"}) {
    const TensorView made = loaded.taps.calls().at(name)[0];
    const std::string stored = std::string("tap.") + name + ".0";
    EXPECT_TRUE(all_close(made, golden.expected(stored), 0.03)) << name;
    EXPECT_FALSE(all_close(made, golden.expected(stored), 2e-4)) << "nothing was rounded";
  }
  EXPECT_EQ(loaded.taps.calls().at("memory_attention").size(), 1u);
}

TEST(Sam2Masks, HolesUpToAnAreaAreFilledAndCornersConnect) {
  // 1: object. A hole of three in a corner's way, one of four, one of one at the border.
  const std::vector<float> before{1, 1, 1, 1, 1, 0,  //
                                  1, 0, 1, 1, 1, 1,  //
                                  1, 1, 0, 1, 0, 0,  //
                                  1, 1, 0, 1, 0, 0,  //
                                  1, 1, 1, 1, 1, 1,  //
                                  1, 1, 1, 1, 1, 1};
  std::vector<float> filled = before;
  sam2::fill_holes(filled, 6, 3);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const bool large = i == 16 || i == 17 || i == 22 || i == 23;
    EXPECT_EQ(filled[i], before[i] > 0 ? 1.0f : large ? 0.0f : 0.1f) << i;
  }
  filled = before;
  sam2::fill_holes(filled, 6, 2);
  EXPECT_EQ(filled[7], 0.0f) << "three pixels that touch by their corners are one hole";
  EXPECT_EQ(filled[5], 0.1f);
}

TEST(Sam2Masks, StabilityIsAShareOfLogits) {
  EXPECT_EQ(sam2::stability(std::vector<float>{-1, 1, 0.04f, -0.04f, 2}, 0.05f), 0.5f);
  EXPECT_EQ(sam2::stability(std::vector<float>{-1, -2}, 0.05f), 1.0f);
}

}  // namespace
}  // namespace wan::test
