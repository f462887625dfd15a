// Speech to video: the positions of its tokens, and what its config.json may say.

#include "models/wan/s2v/speech_layout.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace wan::test {
namespace {

WanConfig with_patches() {
  WanConfig config{};
  config.patch = {1, 2, 2};
  return config;
}

TEST(SpeechLayout, ReferenceAndHistoryStandFarFromTheVideo) {
  // Latents of 88 rows: 44 of tokens, of which the history's are sampled as the official code's table has them.
  const TokenLayout layout = speech_layout(with_patches(), {16, 2, 88, 8}, /*motion=*/true, 1, 0);
  const std::int64_t frame = 44 * 4;
  ASSERT_EQ(layout.tokens(), 2 * frame + frame + frame + frame / 4 + 4 * frame / 16);
  ASSERT_EQ(layout.segments().size(), 3u);
  EXPECT_EQ(layout.segments()[2].tokens, 3 * frame / 2);
  const auto positions = layout.local_positions();
  const auto at = [&](std::int64_t token) { return positions[static_cast<std::size_t>(token)]; };
  EXPECT_EQ(at(frame), (TokenPosition{1, 0, 0}));
  EXPECT_EQ(at(2 * frame), (TokenPosition{30, 0, 0}));
  EXPECT_EQ(at(3 * frame - 1), (TokenPosition{30, 43, 3}));
  EXPECT_EQ(at(3 * frame), (TokenPosition{-1, 0, 0}));
  const std::int64_t halves = 4 * frame;  // 22 x 2
  std::vector<std::int32_t> rows;
  for (std::int64_t row = 0; row < 22; ++row) rows.push_back(at(halves + 2 * row)[1]);
  EXPECT_EQ(rows, (std::vector<std::int32_t>{0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20,
                                             22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 43}));
  EXPECT_EQ(at(halves + 1), (TokenPosition{-3, 0, 3}));
  const std::int64_t quarters = halves + frame / 4;  // 4 times 11 x 1
  rows.clear();
  for (std::int64_t row = 0; row < 11; ++row) rows.push_back(at(quarters + row)[1]);
  EXPECT_EQ(rows, (std::vector<std::int32_t>{0, 4, 8, 12, 17, 21, 25, 30, 34, 38, 43}));
  std::vector<std::int32_t> times;
  for (std::int64_t pack = 0; pack < 4; ++pack) times.push_back(at(quarters + 11 * pack)[0]);
  EXPECT_EQ(times, (std::vector<std::int32_t>{-19, -14, -9, -4}));
}

TEST(SpeechLayout, TheLastSampledRowIsTheLast) {
  // 29 steps of 59 / 29 are less than 59 in f64.
  const TokenLayout layout = speech_layout(with_patches(), {16, 1, 120, 8}, /*motion=*/true, 1, 0);
  const std::int64_t halves = 3 * 60 * 4;
  EXPECT_EQ(layout.local_positions()[static_cast<std::size_t>(halves + 2 * 29)], (TokenPosition{-3, 59, 0}));
}

TEST(SpeechLayout, AFirstClipHasNoHistoryAndTwoTimesteps) {
  const TokenLayout layout = speech_layout(with_patches(), {16, 3, 8, 16}, /*motion=*/false, 1, 0);
  EXPECT_EQ(layout.tokens(), 4 * 32);
  EXPECT_EQ(extra_speech_tokens(with_patches(), {16, 3, 8, 16}, false), 32);
  EXPECT_EQ(extra_speech_tokens(with_patches(), {16, 3, 8, 16}, true), 32 + 48);
  // The reference and the history have timestep 0: one run of tokens.
  const TokenLayout later = speech_layout(with_patches(), {16, 3, 8, 16}, /*motion=*/true, 1, 0);
  ASSERT_EQ(later.local_runs().count(), 2);
  EXPECT_EQ(later.local_runs().ends[0], 3 * 32);
  EXPECT_EQ(later.local_runs().ends[1], 3 * 32 + 80);
}

/// A config.json of the published kind, but for `from`, which becomes `to`.
WanConfig parse_speech(const std::string& from = "", const std::string& to = "") {
  std::string text =
      R"({"_class_name":"WanModel_S2V","model_type":"s2v","dim":64,"ffn_dim":80,"freq_dim":64,"in_dim":16,"out_dim":16,)"
      R"("num_heads":4,"num_layers":40,"text_len":512,"eps":1e-06,"cond_dim":16,"audio_dim":1024,"num_audio_token":4,)"
      R"("enable_adain":true,"adain_mode":"attn_norm","audio_inject_layers":[0,4,8,39],"zero_timestep":true,)"
      R"("enable_motioner":false,"add_last_motion":true,"enable_framepack":true,"framepack_drop_mode":"padd"})";
  const std::size_t place = text.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  text.replace(place, from.size(), to);
  return parse_wan_config(text, "config.json");
}

TEST(SpeechConfig, IsReadFromTheOfficialKeys) {
  const WanConfig config = parse_speech();
  ASSERT_TRUE(config.speech.has_value());
  EXPECT_EQ(config.speech->pose_dim, 16);
  EXPECT_EQ(config.speech->audio_dim, 1024);
  EXPECT_EQ(config.speech->audio_tokens, 4);
  EXPECT_EQ(config.speech->inject_layers, (std::vector<int>{0, 4, 8, 39}));
}

TEST(SpeechConfig, KindsThatWereNeverPublishedAreRefused) {
  const std::pair<const char*, const char*> changes[] = {
      {R"("enable_motioner":false)", R"("enable_motioner":true)"},
      {R"("enable_framepack":true)", R"("enable_framepack":false)"},
      {R"("enable_adain":true)", R"("enable_adain":false)"},
      {R"("zero_timestep":true)", R"("zero_timestep":false)"},
      {R"("add_last_motion":true)", R"("add_last_motion":false)"},
      {R"("attn_norm")", R"("attn")"},
      {R"("in_dim":16)", R"("in_dim":32)"}};
  for (const auto& [from, to] : changes)
    expect_error(ErrorCode::kBadFile, "only the kind of Wan2.2-S2V-14B is supported",
                 [&, before = from, after = to] { parse_speech(before, after); });
  expect_error(ErrorCode::kBadFile, "no \"enable_motioner\" that is true or false",
               [] { parse_speech(R"("enable_motioner":false)", R"("enable_motioner":0)"); });
}

TEST(SpeechConfig, InjectedBlocksAreThoseOfTheModelAndNoBeginningOfAnothersNumber) {
  for (const char* const wrong : {"[]", "[0,40]", "[4,0]", "[0,0]", "[-1]", "[0.5]", "[\"0\"]", "7"})
    expect_error(ErrorCode::kBadFile, "audio_inject_layers", [&] { parse_speech("[0,4,8,39]", wrong); });
  expect_error(ErrorCode::kBadFile, "block 3, which the official code takes for block 30 too",
               [] { parse_speech("[0,4,8,39]", "[0,3]"); });
}

}  // namespace
}  // namespace wan::test
