// The video segmenter against the official SAM2VideoPredictor (tools/golden/make_sam2.py): every stage of every frame, and masks.

#include <gtest/gtest.h>

#include <algorithm>

#include "support/sam2_model.h"

namespace wan::test::sam2_test {
namespace {

// f32 on both sides, sums of up to 2048 terms in another order through some twenty layers.
constexpr double kSamTolerance = 2e-5;
// Of frames that see memories, which are rounded to bf16: the last bit of a few in a thousand values, 0.4% of them, is another.
constexpr double kRememberedTolerance = 5e-4;

bool bit_of(const Tensor& rows, std::int64_t row, std::size_t index) {
  const std::uint8_t* const bits = rows.as<std::uint8_t>() + row * rows.dim(1);
  return ((bits[index / 8] >> (7 - index % 8)) & 1) != 0;
}

struct SamCase {
  const char* name;
  double presence;  // added to the bias that says whether there is an object
};

class Sam2Parity : public ::testing::TestWithParam<std::tuple<SamCase, Kernels>> {};

TEST_P(Sam2Parity, EveryStageOfEveryFrameIsTheReferences) {
  const auto& [test, kernels] = GetParam();
  const GoldenFile golden(golden_path(std::string("sam2/") + test.name + ".safetensors"));
  const RuleWeights weights(golden_path("sam2/weights.txt"));
  weights.at("sam_mask_decoder.pred_obj_score_head.layers.2.bias").as<float>()[0] +=
      static_cast<float>(test.presence);
  LoadedSegmenter loaded(weights, golden_settings(golden), kernels);
  const std::vector<std::int64_t> size = golden.integers("size");
  const auto width = static_cast<int>(size[0]), height = static_cast<int>(size[1]);
  const std::int64_t frames = golden.integers("settings")[6];
  const Tensor masks = golden.tensor("masks"), unsure = golden.tensor("unsure");
  std::vector<std::int64_t> read, written;
  loaded.segmenter.segment_chunk(
      loaded.ctx, frames, golden_keys(golden),
      [&](std::int64_t frame) {
        read.push_back(frame);
        return video_frame(width, height, frame);
      },
      [&](std::int64_t frame, std::span<const std::uint8_t> mask) {
        written.push_back(frame);
        ASSERT_EQ(mask.size(), static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
        std::size_t wrong = 0, left_out = 0;
        for (std::size_t i = 0; i < mask.size(); ++i) {
          ASSERT_LE(mask[i], 1);
          left_out += bit_of(unsure, frame, i) ? 1 : 0;
          if (!bit_of(unsure, frame, i) && (mask[i] != 0) != bit_of(masks, frame, i)) ++wrong;
        }
        EXPECT_EQ(wrong, 0u) << "frame " << frame;
        EXPECT_LT(left_out, mask.size() / 200);
      });
  std::ranges::sort(read);
  EXPECT_EQ(read, written);
  EXPECT_EQ(static_cast<std::int64_t>(written.size()), frames);

  const std::vector<std::string> names = golden.names("tap.");
  EXPECT_GT(names.size(), 10u);
  const std::size_t keys = golden.names("points.").size();
  for (const std::string& name : names) {
    const std::size_t dot = name.rfind('.');
    const auto found = loaded.taps.calls().find(name.substr(0, dot));
    ASSERT_NE(found, loaded.taps.calls().end()) << name;
    const auto call = static_cast<std::size_t>(std::stoull(name.substr(dot + 1)));
    ASSERT_LT(call, found->second.size()) << name;
    const bool remembers =
        !name.starts_with("image_encoder") && (name.starts_with("memory_attention") || call >= keys);
    EXPECT_TRUE(all_close(found->second[call], golden.expected("tap." + name),
                          remembers ? kRememberedTolerance : kSamTolerance))
        << name;
  }
}

std::string sam_case_name(const ::testing::TestParamInfo<std::tuple<SamCase, Kernels>>& instance) {
  return std::string(std::get<0>(instance.param).name) + "_" + kernels_name(std::get<1>(instance.param));
}

INSTANTIATE_TEST_SUITE_P(Models, Sam2Parity,
                         ::testing::Combine(::testing::Values(SamCase{"tracked", 0.0},
                                                              SamCase{"absent", -40.0}),
                                            ::testing::ValuesIn(all_kernels())),
                         sam_case_name);

}  // namespace
}  // namespace wan::test::sam2_test
