// The audio encoder against transformers' Wav2Vec2ForCTC, stage by stage, and what frames hear against the official code.

#include "models/wav2vec2/wav2vec2.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/wav2vec2/speech_features.h"
#include "ops/counting_backend.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/tap_recorder.h"

namespace wan::test::wav2vec2_test {
namespace {

// f32 on both sides; sums of up to 80 terms in another order through up to three layers.
constexpr double kTolerance = 2e-5;

/// A golden encoder, its weights in memory.
class LoadedEncoder {
 public:
  LoadedEncoder(const std::string& name, Kernels kernels)
      : folder_(golden_path("audio/encoders/" + name)),
        report_(Checkpoint::open(folder_), "audio encoder"),
        scope_(report_, {}),
        config_(read_wav2vec2_config(folder_)),
        residency_(make_residency(
            {{wav2vec2_scope(scope_), wav2vec2_block_layout(config_), static_cast<int>(config_.num_layers)}},
            {})),
        encoder(config_, scope_, *residency_, 0, "wav2vec2."),
        backend_(make_backend(kernels)),
        workspace_(backend_->allocator()),
        ctx{.backend = *backend_, .workspace = workspace_, .communicator = alone_, .taps = taps.listener()} {
    report_.check();
  }

 private:
  std::filesystem::path folder_;
  WeightReport report_;
  WeightScope scope_;
  Wav2Vec2Config config_;
  std::unique_ptr<BlockResidency> residency_;

 public:
  Wav2Vec2 encoder;
  TapRecorder taps;

 private:
  std::unique_ptr<Backend> backend_;
  Workspace workspace_;
  SelfCommunicator alone_;

 public:
  ExecContext ctx;
};

std::span<const float> values_of(const Tensor& tensor) {
  return {tensor.as<float>(), static_cast<std::size_t>(tensor.elements())};
}

struct Case {
  const char* encoder;
  const char* sound;
};

constexpr Case kCases[] = {{"heads3", "short"}, {"heads3", "odd"}, {"heads3", "silent"},
                           {"heads3", "least"}, {"bare", "short"}, {"bare", "odd"}};

class Wav2Vec2Parity : public ::testing::TestWithParam<std::tuple<Case, Kernels>> {};

/// All of them: [states, T, dim].
Tensor hidden_states(LoadedEncoder& loaded, std::span<const float> samples) {
  const Wav2Vec2& encoder = loaded.encoder;
  const std::int64_t count = encoder.config().states(static_cast<std::int64_t>(samples.size()));
  Tensor all(DType::kF32, {encoder.state_count(), count, encoder.config().dim});
  encoder.encode(loaded.ctx, samples, [&](std::int64_t index, const TensorView& state) {
    loaded.ctx.backend.download(state, all.view().select(0, index));
  });
  return all;
}

TEST_P(Wav2Vec2Parity, EveryStageIsTheReferences) {
  const auto& [test, kernels] = GetParam();
  const GoldenFile golden(golden_path(std::string("audio/encoders/") + test.encoder + ".safetensors"));
  const std::string name = std::string(test.sound) + ".";
  const Tensor samples = golden.tensor(name + "samples");
  std::vector<float> normalized = normalize_speech(values_of(samples));
  const TensorView made(normalized.data(), DType::kF32, {static_cast<std::int64_t>(normalized.size())});
  EXPECT_TRUE(all_close(made, golden.expected(name + "normalized"), kTolerance));

  LoadedEncoder loaded(test.encoder, kernels);
  const Tensor states = hidden_states(loaded, values_of(samples));
  const auto& features = loaded.taps.calls().at("wav2vec2.feature_extractor");
  ASSERT_EQ(features.size(), 1u);
  EXPECT_TRUE(all_close(features[0], golden.expected(name + "features"), kTolerance));
  for (std::int64_t i = 0; i < states.dim(0); ++i)
    EXPECT_TRUE(all_close(states.view().select(0, i), golden.expected(fmt::format("{}state_{}", name, i)),
                          kTolerance))
        << i;
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Case, Kernels>>& instance) {
  const auto& [test, kernels] = instance.param;
  return std::string(test.encoder) + "_" + test.sound + "_" + kernels_name(kernels);
}

INSTANTIATE_TEST_SUITE_P(Models, Wav2Vec2Parity,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(all_kernels())),
                         case_name);

TEST(Wav2Vec2, PiecesOfALongSoundLeaveNoSeam) {
  // 281 states: a piece of convolutions and a part of the next.
  const GoldenFile golden(golden_path("audio/encoders/heads3.safetensors"));
  const Tensor odd = golden.tensor("odd.samples");
  std::vector<float> samples(90'001);  // "odd" again and again, the n-th time n times as loud
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto length = static_cast<std::size_t>(odd.elements());
    samples[i] = odd.as<float>()[i % length] * static_cast<float>(1 + i / length);
  }
  LoadedEncoder loaded("heads3", all_kernels().back());
  const Tensor states = hidden_states(loaded, samples);
  EXPECT_GT(states.dim(1), 256);
  EXPECT_TRUE(
      all_close(states.view().select(0, states.dim(0) - 1), golden.expected("long.state_3"), kTolerance));
}

TEST(Wav2Vec2, MemoryGrowsWithALengthNotWithItsSquareAndARehearsalSeesIt) {
  LoadedEncoder loaded("heads3", all_kernels().back());
  const auto peak = [&](std::int64_t samples) {
    Rehearsal rehearsal(&loaded.ctx.backend);
    loaded.encoder.rehearse(rehearsal.ctx, samples);
    return rehearsal.backend.take_peak();
  };
  const std::int64_t a_minute = peak(960'000);
  const std::int64_t ten_minutes = peak(9'600'000);
  EXPECT_LT(ten_minutes, 11 * a_minute);

  const GoldenFile golden(golden_path("audio/encoders/heads3.safetensors"));
  const Tensor samples = golden.tensor("odd.samples");
  loaded.ctx.workspace.release();
  loaded.encoder.encode(loaded.ctx, values_of(samples), [](std::int64_t, const TensorView&) {});
  const auto used = static_cast<std::int64_t>(loaded.ctx.workspace.capacity());
  EXPECT_NEAR(static_cast<double>(peak(samples.elements())), static_cast<double>(used),
              0.05 * static_cast<double>(used));
}

TEST(Wav2Vec2, ASoundWithoutAStateIsRefused) {
  LoadedEncoder loaded("heads3", all_kernels().back());
  EXPECT_EQ(loaded.encoder.config().receptive_field(), 400);
  EXPECT_EQ(loaded.encoder.config().hop(), 320);
  const std::vector<float> samples(399);
  expect_error(ErrorCode::kInvalidArgument, "too short", [&] { hidden_states(loaded, samples); });
}

TEST(SpeechFeatures, AreTheOfficialOnes) {
  const GoldenFile golden(golden_path("audio/features.safetensors"));
  for (const char* name : {"second", "two_clips", "two", "minute"}) {
    SCOPED_TRACE(name);
    const std::string prefix = std::string(name) + ".";
    const Tensor states = golden.tensor(prefix + "states");
    const Tensor features = interpolate_states(states);
    EXPECT_TRUE(all_close(features, golden.expected(prefix + "features"), 1e-6));
    const Expected heard = golden.expected(prefix + "heard");  // [frames, L, C]
    const Tensor picked(DType::kF32, {heard.whole[1], heard.whole[2], heard.whole[0]});
    pick_speech_features(states, 16, picked);
    const Tensor by_frame(DType::kF32, heard.whole);
    for (std::int64_t frame = 0; frame < heard.whole[0]; ++frame)
      for (std::int64_t i = 0; i < heard.whole[1] * heard.whole[2]; ++i)
        by_frame.as<float>()[frame * heard.whole[1] * heard.whole[2] + i] =
            picked.as<float>()[i * heard.whole[0] + frame];
    EXPECT_TRUE(all_close(by_frame, heard, 1e-6));
  }
}

TEST(SpeechFeatures, CountsAreTheOfficialOnes) {
  const std::vector<std::int64_t> counts =
      GoldenFile(golden_path("audio/features.safetensors")).integers("counts");
  ASSERT_GT(counts.size(), 100u);
  for (std::size_t i = 0; i < counts.size(); i += 4) {
    EXPECT_EQ(speech_feature_count(counts[i]), counts[i + 1]) << counts[i];
    EXPECT_EQ(speech_clip_count(counts[i + 1], 16, counts[i + 2]), counts[i + 3]) << counts[i];
  }
  // Halves go to the even one: 7.5 to 8, 22.5 to 22.
  constexpr std::int64_t kFeatures[] = {0, 2, 4, 6, 8, 9, 11, 13, 15, 17, 19, 21, 22};
  for (std::int64_t frame = 0; frame < 13; ++frame) EXPECT_EQ(speech_feature_of(frame, 16), kFeatures[frame]);
}

}  // namespace
}  // namespace wan::test::wav2vec2_test
