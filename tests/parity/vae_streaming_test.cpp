// How the VAEs stream: groups of frames, history, memory, tiles, cancelling. Their values are vae_test.cpp's matter.

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/vae_model.h"

namespace wan::test {
namespace {

// The same operations on the same numbers.
constexpr double kExact = 0.0;
// The same sums in another order: a ring's frames change places. 6e-7 seen.
constexpr double kOtherOrder = 3e-6;

struct Streamed {
  const char* folder;
  const char* decode_layer;  // after which a run is cancelled
  const char* encode_layer;
  double tiled_decode;  // see VaeTiles
  double tiled_encode;
};

// Attention over a tile instead of the whole picture, and zeros instead of the neighbours' pixels at its border,
// make tiles differ. These random weights and white noise are harder on them than a trained model and smooth
// latents: attention is as strong as the residual blocks. Seen with two by two tiles of 32 x 32 latents that overlap
// by 2, 4 and 8: VAE 2.1 decode 0.179, 0.126, 0.094, encode 0.037, 0.020, 0.011;
// VAE 2.2 decode 0.105, 0.076, 0.048, encode 0.023, 0.013, 0.007.
const Streamed kVaes[] = {{"vae21", "vae.decoder.upsamples.3", "vae.encoder.downsamples.3", 0.12, 0.016},
                          {"vae22", "vae.decoder.upsamples.1.upsamples.0",
                           "vae.encoder.downsamples.1.downsamples.0", 0.062, 0.0095}};

class VaeStreaming : public ::testing::TestWithParam<Streamed> {
 protected:
  /// A case that both have.
  static std::string case_of(const char* name) { return std::string(GetParam().folder) + "/" + name; }
};
class VaeTiles : public VaeStreaming {};

std::string folder_of(const ::testing::TestParamInfo<Streamed>& info) {
  return info.param.folder;
}
INSTANTIATE_TEST_SUITE_P(Models, VaeStreaming, ::testing::ValuesIn(kVaes), folder_of);
INSTANTIATE_TEST_SUITE_P(Models, VaeTiles, ::testing::ValuesIn(kVaes), folder_of);

Tensor first_latents(const TensorView& latents, std::int64_t frames) {
  Tensor part(DType::kF32, {latents.dim(0), frames, latents.dim(2), latents.dim(3)});
  reference(CopyArgs{.from = latents.slice(1, 0, frames), .out = part});
  return part;
}

TEST_P(VaeStreaming, AClipsBeginningDoesNotDependOnItsRest) {
  const Tensor latents = vae_golden(case_of("levels3")).tensor("latents");
  VaeModel model(case_of("levels3"));
  std::vector<std::int64_t> groups;
  const Tensor whole = model.decode(latents, model.plan_decode(latents), &groups);
  std::vector<std::int64_t> expected_groups(static_cast<std::size_t>(latents.dim(1)), 4);
  expected_groups[0] = 1;
  EXPECT_EQ(groups, expected_groups);
  const Tensor whole_latents = model.encode(whole, whole.dim(0), model.plan_encode(latents));
  for (const std::int64_t frames : {1, 2, 3, 5}) {
    const Tensor part = first_latents(latents, frames);
    const std::int64_t pictures = model.vae().geometry().frames(frames);
    const Tensor decoded = model.decode(part, model.plan_decode(part));
    EXPECT_TRUE(all_close(decoded, whole.view().slice(0, 0, pictures), kExact)) << frames;
    const Tensor encoded = model.encode(whole, pictures, model.plan_encode(part));
    EXPECT_TRUE(all_close(encoded, whole_latents.view().slice(1, 0, frames), kExact)) << frames;
  }
}

TEST_P(VaeStreaming, EarlierFramesMatter) {
  const Tensor latents = vae_golden(case_of("levels3")).tensor("latents");
  VaeModel model(case_of("levels3"));
  const Tensor whole = model.decode(latents, model.plan_decode(latents));
  Tensor changed = first_latents(latents, latents.dim(1));
  changed.as<float>()[0] += 1.0f;  // channel 0, frame 0
  const Tensor other = model.decode(changed, model.plan_decode(changed));
  EXPECT_FALSE(all_close(other.view().slice(0, 1, 5), whole.view().slice(0, 1, 5), 1e-3));
}

/// What a plan is, for messages.
std::string kind_of(const VaePlan& plan) {
  return std::string(plan.frame_by_frame ? "frame by frame" : "whole groups") +
         (plan.compact_history ? ", compact" : "");
}

TEST_P(VaeStreaming, PlansForLessMemoryGiveTheSame) {
  const Tensor latents = vae_golden(case_of("levels4")).tensor("latents");
  VaeModel model(case_of("levels4"));
  const std::vector<VaePlan> decode = model.decode_plans(latents);
  const Tensor frames = model.decode(latents, decode[0]);
  ASSERT_EQ(decode.size(), 3u);
  EXPECT_FALSE(decode[0].frame_by_frame || decode[0].compact_history);
  EXPECT_TRUE(decode[1].frame_by_frame && !decode[1].compact_history);
  EXPECT_TRUE(decode[2].frame_by_frame && decode[2].compact_history);
  for (const VaePlan& plan : decode)
    EXPECT_TRUE(all_close(model.decode(latents, plan), frames, kOtherOrder)) << kind_of(plan);

  const std::vector<VaePlan> encode = model.encode_plans(latents);
  const Tensor encoded = model.encode(frames, frames.dim(0), encode[0]);
  for (const VaePlan& plan : encode)
    EXPECT_TRUE(all_close(model.encode(frames, frames.dim(0), plan), encoded, kOtherOrder)) << kind_of(plan);
}

TEST_P(VaeStreaming, FrameByFrameGivesTheSameGroups) {
  const Tensor latents = vae_golden(case_of("levels3")).tensor("latents");
  VaeModel model(case_of("levels3"));
  for (const VaePlan& plan : model.decode_plans(latents)) {
    std::vector<std::int64_t> groups;
    model.decode(latents, plan, &groups);
    std::vector<std::int64_t> expected(static_cast<std::size_t>(latents.dim(1)), 4);
    expected[0] = 1;
    EXPECT_EQ(groups, expected) << kind_of(plan);
  }
}

/// The plan's bytes are what is taken, to the last one: with them one allocation, with 64 fewer (the alignment) more.
void expect_exact(VaeModel& model, VaePlan plan, const std::function<void(const VaePlan&)>& run) {
  model.workspace().release();
  int before = model.workspace().allocations();
  run(plan);
  EXPECT_EQ(model.workspace().allocations(), before + 1);
  EXPECT_EQ(model.workspace().capacity(), plan.bytes);
  run(plan);
  EXPECT_EQ(model.workspace().allocations(), before + 1) << "a second pass allocates";

  model.workspace().release();
  before = model.workspace().allocations();
  plan.bytes -= 64;
  run(plan);
  EXPECT_GT(model.workspace().allocations(), before + 1) << "the plan asks for more than is used";
}

TEST_P(VaeStreaming, PlansSayHowMuchMemoryIsUsed) {
  const GoldenFile golden = vae_golden(case_of("levels2"));
  const Tensor latents = first_latents(golden.tensor("latents"), 2);
  const Tensor frames = golden.tensor("frames");
  const std::int64_t pictures = 3;
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    SCOPED_TRACE(dtype_name(compute));
    VaeModel model(case_of("levels2"), Kernels::kPlain,
                   {compute});  // takes nothing of its own from the workspace
    for (const VaePlan& plan : model.decode_plans(latents)) {
      SCOPED_TRACE("decode, " + kind_of(plan));
      expect_exact(model, plan, [&](const VaePlan& chosen) { model.decode(latents, chosen); });
    }
    for (const VaePlan& plan : model.encode_plans(latents)) {
      SCOPED_TRACE("encode, " + kind_of(plan));
      expect_exact(model, plan, [&](const VaePlan& chosen) { model.encode(frames, pictures, chosen); });
    }
  }
}

TEST_P(VaeStreaming, MemoryDoesNotGrowWithFrames) {
  VaeModel model(case_of("levels4"));
  for (const std::int64_t frames : {3, 9, 1000}) {
    EXPECT_EQ(model.vae().plan_decode({frames, 8, 8}, 0).bytes, model.vae().plan_decode({2, 8, 8}, 0).bytes);
    EXPECT_EQ(model.vae().plan_encode({frames, 8, 8}, 0).bytes, model.vae().plan_encode({2, 8, 8}, 0).bytes);
  }
  // A still is a clip's first group alone.
  EXPECT_LT(model.vae().plan_decode({1, 8, 8}, 0).bytes, model.vae().plan_decode({2, 8, 8}, 0).bytes);
  EXPECT_LT(model.vae().plan_encode({1, 8, 8}, 0).bytes, model.vae().plan_encode({2, 8, 8}, 0).bytes);
}

TEST_P(VaeStreaming, NothingIsReadThatWasNotWritten) {
  const Tensor latents = vae_golden(case_of("levels4")).tensor("latents");
  VaeModel model(case_of("levels4"));
  for (const VaePlan& plan : model.decode_plans(latents)) {
    const Tensor clean = model.decode(latents, plan);
    {
      const Workspace::Scope scope(model.workspace());
      const auto floats = static_cast<std::int64_t>(model.workspace().capacity() / sizeof(float));
      const TensorView all = model.workspace().take(DType::kF32, {floats});
      std::fill_n(all.as<float>(), floats, std::numeric_limits<float>::quiet_NaN());
    }
    EXPECT_TRUE(all_close(model.decode(latents, plan), clean, kExact));
  }
}

TEST_P(VaeStreaming, StopsBetweenLayers) {
  const GoldenFile golden = vae_golden(case_of("levels4"));
  const Tensor latents = golden.tensor("latents");
  VaeModel model(case_of("levels4"));
  std::atomic<bool> cancelled = false;
  int layers_after = 0;
  model.context().cancelled = &cancelled;
  model.context().taps = [&](std::string_view name, const TensorView&) {
    if (cancelled) ++layers_after;
    if (name == GetParam().decode_layer || name == GetParam().encode_layer) cancelled = true;
  };
  expect_error(ErrorCode::kCancelled, "", [&] { model.decode(latents, model.plan_decode(latents)); });
  EXPECT_EQ(layers_after, 0);
  cancelled = false;
  const Tensor frames = golden.tensor("frames");
  expect_error(ErrorCode::kCancelled, "",
               [&] { model.encode(frames, frames.dim(0), model.plan_encode(latents)); });
  EXPECT_EQ(layers_after, 0);
  cancelled = false;
  model.context().taps = {};
  EXPECT_TRUE(all_close(model.decode(latents, model.plan_decode(latents)), frames, 1e-5))
      << "a stopped pass leaves something behind";
}

Tensor random_latents(const Shape& shape) {
  Tensor latents(DType::kF32, shape);
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::generate_n(latents.as<float>(), latents.elements(), [&] { return normal(generator); });
  return latents;
}

TEST_P(VaeTiles, DifferLittleFromTheWholeAndLessWithMoreOverlap) {
  VaeModel model(case_of("levels2"));
  const Tensor latents = random_latents({model.vae().geometry().z_dim, 1, 32, 32});
  const VaePlan whole = model.plan_decode(latents);
  const Tensor frames = model.decode(latents, whole);
  const Tensor encoded = model.encode(frames, 1, model.plan_encode(latents));
  double last_decode = 1.0;
  double last_encode = 1.0;
  for (const std::int64_t overlap : {2, 4, 8}) {
    VaePlan tiled = whole;
    tiled.tile_height = tiled.tile_width = (32 + overlap) / 2;
    tiled.overlap_height = tiled.overlap_width = overlap;
    const double decode = difference(model.decode(latents, tiled), frames).relative_rms;
    const double encode = difference(model.encode(frames, 1, tiled), encoded).relative_rms;
    EXPECT_LT(decode, last_decode) << overlap;
    EXPECT_LT(encode, last_encode) << overlap;
    last_decode = decode;
    last_encode = encode;
  }
  EXPECT_LE(last_decode, GetParam().tiled_decode);
  EXPECT_LE(last_encode, GetParam().tiled_encode);
}

TEST_P(VaeTiles, StayWithinTheBudgetAndKeepTheGroups) {
  VaeModel model(case_of("levels2"), Kernels::kPlain);
  const Tensor latents = random_latents({model.vae().geometry().z_dim, 3, 9, 12});
  const VaePlan decode = model.plan_decode(latents, model.plan_decode(latents).bytes / 2);
  ASSERT_LT(decode.tile_height * decode.tile_width, 9 * 12);
  std::vector<std::int64_t> groups;
  model.workspace().release();
  int before = model.workspace().allocations();
  const Tensor frames = model.decode(latents, decode, &groups);
  EXPECT_EQ(groups, (std::vector<std::int64_t>{1, 2, 2}));
  EXPECT_EQ(model.workspace().allocations(), before + 1);
  EXPECT_EQ(model.workspace().capacity(), decode.bytes);

  const VaePlan encode = model.plan_encode(latents, model.plan_encode(latents).bytes / 2);
  ASSERT_LT(encode.tile_height * encode.tile_width, 9 * 12);
  model.workspace().release();
  before = model.workspace().allocations();
  model.encode(frames, frames.dim(0), encode);
  EXPECT_EQ(model.workspace().allocations(), before + 1);
  EXPECT_EQ(model.workspace().capacity(), encode.bytes);
}

TEST_P(VaeTiles, ABudgetTooSmallForAnyTileIsRefused) {
  VaeModel model(case_of("levels4"));
  expect_error(ErrorCode::kOutOfMemory, "smallest tiles, 0.05 GB are left for it; choose a smaller `size`",
               [&] {
                 model.vae().plan_decode({3, 3000, 4000}, 50'000'000);
               });
  expect_error(ErrorCode::kInvalidArgument, "at least one latent frame", [&] {
    model.vae().plan_encode({0, 30, 40}, 0);
  });
}

}  // namespace
}  // namespace wan::test
