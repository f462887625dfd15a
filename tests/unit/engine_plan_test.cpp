// The engine's plans: they get smaller as memory does, their parts add up, and too little is refused.

#include <algorithm>

#include "backends/cpu/cpu_backend.h"
#include "engine/engine_internals.h"
#include "support/expect_error.h"
#include "support/fenced_backend.h"
#include "unit/engine_fixture.h"
#include "wan/tools.h"

namespace wan::test {
namespace {

class EnginePlanTest : public EngineTest {};

TEST_F(EnginePlanTest, PlansGetSmallerAsMemoryDoes) {
  const MemoryPlan resident = plan("auto", 0);
  EXPECT_TRUE(resident.blocks_resident);
  EXPECT_EQ(resident.vae_tile, 0);
  const MemoryPlan streamed = plan("streamed", 0);
  EXPECT_LT(streamed.transformers, resident.transformers);

  // Just too little for all blocks beside whole frames: the blocks are streamed, the frames stay whole.
  std::int64_t limit = resident.peak;
  MemoryPlan smaller = resident;
  while (smaller.blocks_resident && limit > 0) {
    limit -= (limit - resident.program) / 50;
    smaller = plan("auto", limit);
  }
  EXPECT_LE(smaller.peak, limit);
  EXPECT_LT(smaller.peak, resident.peak);
  EXPECT_EQ(plan("auto", limit).peak, smaller.peak) << "a plan is not repeatable";
}

TEST_F(EnginePlanTest, PlansLeaveToADevicesLibrariesWhatTheyTake) {
  class Reserving final : public FencedBackend {
   public:
    explicit Reserving(std::int64_t bytes) : FencedBackend(make_cpu_backend({})), bytes_(bytes) {}
    std::int64_t reserved_bytes() const override { return bytes_; }

   private:
    std::int64_t bytes_;
  };
  const auto plan_with = [&](std::int64_t reserved, std::int64_t limit) {
    GenerationRequest asked = request();
    asked.rng = "torch-cpu";
    return make_engine({.ckpt_dir = kCheckpoint, .memory_limit = limit},
                       std::make_unique<Reserving>(reserved))
        .plan(asked);
  };
  constexpr std::int64_t kReserved = 50'000'000;
  const MemoryPlan without = plan_with(0, 0);
  const MemoryPlan with = plan_with(kReserved, 0);
  EXPECT_EQ(with.program, kReserved);
  EXPECT_EQ(with.peak, without.peak + kReserved);
  EXPECT_TRUE(plan_with(0, without.peak).blocks_resident);
  EXPECT_TRUE(plan_with(kReserved, with.peak).blocks_resident);
  EXPECT_THROW(plan_with(kReserved, kReserved), Error);
}

TEST_F(EnginePlanTest, AsManyBlocksHaveAPlaceAsFit) {
  const auto plan = [&](const std::string& residency, std::int64_t limit) {
    return Engine({.ckpt_dir = std::filesystem::path(WAN_SOURCE_DIR) / "models/demo",
                   .residency = residency,
                   .keep_models = false,
                   .memory_limit = limit})
        .plan(request());
  };
  const MemoryPlan all = plan("auto", 0);
  const MemoryPlan two = plan("streamed", 0);
  EXPECT_EQ(two.block_places, 2);
  int places = all.block_places;
  int between = 0;  // limits under which some blocks have a place for good and some do not
  for (int percent = 100; percent > 0; percent -= 2) {
    const std::int64_t limit = two.program + (all.peak - two.program) * percent / 100;
    MemoryPlan planned;
    try {
      planned = plan("auto", limit);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      break;
    }
    EXPECT_LE(planned.peak, limit);
    EXPECT_LE(planned.block_places, places);
    EXPECT_EQ(planned.blocks_resident, planned.block_places >= all.transformer_blocks);
    EXPECT_EQ(planned.text_encoder_places > 0, planned.block_places == all.transformer_blocks);
    places = planned.block_places;
    if (places > 2 && !planned.blocks_resident) ++between;
  }
  EXPECT_GT(between, 0);
  EXPECT_EQ(places, 2) << "the last resort";
}

TEST_F(EnginePlanTest, ThePartsOfAPlanAddUp) {
  std::int64_t text_blocks = 0;
  std::int64_t vae_weights = 0;
  for (const InspectedModel& model : inspect(kCheckpoint))
    for (const InspectedTensor& tensor : model.tensors) {
      std::int64_t bytes = 4;  // f32 in memory, whatever it is in the file
      for (const std::int64_t extent : tensor.shape) bytes *= extent;
      if (model.kind == "VAE 2.1") vae_weights += bytes;
      // Each weight of a block lies on a border of 64 bytes.
      if (model.kind == "umT5 text encoder" && tensor.name.starts_with("blocks."))
        text_blocks += (bytes + 63) / 64 * 64;
      if (model.kind == "umT5 text encoder" && tensor.name == "norm.weight") text_blocks += bytes;
    }
  // Of the encoder's last convolution, 32 to 32 channels, the rows of the mean are held alone.
  vae_weights -= 4 * 16 * (32 + 1);
  for (const char* residency : {"resident", "streamed"}) {
    const MemoryPlan parts = plan(residency, 0);
    if (parts.blocks_resident) {
      EXPECT_EQ(parts.text_encoder, text_blocks);
    }
    EXPECT_GT(parts.text_encoder, 0);
    EXPECT_GT(parts.program, 1 << 20);
    // Frames are decoded when the predictions of the two branches, latents of [16, 2, 8, 16], have been given back.
    const std::int64_t predictions = 2 * 4 * 16 * 2 * 8 * 16;
    const std::int64_t held = parts.program + parts.text_encoder + parts.transformers + parts.latents;
    EXPECT_EQ(parts.peak, held + std::max(parts.activations + parts.context_cache + vae_weights,
                                          parts.vae - predictions));
    const std::string text = to_string(parts);
    for (const char* word : {"program", "text encoder", "not counted"})
      EXPECT_NE(text.find(word), std::string::npos);
  }
}

TEST_F(EnginePlanTest, WeightsThatAreGivenBackLeaveRoom) {
  // Prompts that take all tokens: where models stay, plans are made for such.
  for (int word = 0; word < 600; ++word) {
    prompt_ += "red ";
    negative_prompt_ += "blurry ";
  }
  const MemoryPlan kept = plan("auto", 0);
  const MemoryPlan given_back = plan("auto", 0, /*keep_models=*/false);
  EXPECT_EQ(given_back.transformers, kept.transformers);
  ASSERT_LT(given_back.peak, kept.peak);
  const std::int64_t between = (given_back.peak + kept.peak) / 2;
  EXPECT_FALSE(plan("auto", between).blocks_resident);
  EXPECT_TRUE(plan("auto", between, /*keep_models=*/false).blocks_resident);
  EXPECT_GE(plan("streamed", 0).peak, plan("streamed", 0, /*keep_models=*/false).peak);
}

TEST_F(EnginePlanTest, TooLittleMemoryIsRefusedWithNumbersAndARemedy) {
  expect_error(ErrorCode::kOutOfMemory, "`size`", [&] { plan("auto", 100'000); });
  expect_error(ErrorCode::kOutOfMemory, "`residency` streamed", [&] { plan("resident", 100'000); });
  expect_error(ErrorCode::kInvalidArgument, "`residency`", [&] { plan("elsewhere", 0); });
}

}  // namespace
}  // namespace wan::test
