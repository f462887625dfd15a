// Several ranks of one engine: the video of one, what their events and plans tell, and how they stop together.

#include <array>

#include "backends/cpu/cpu_backend.h"
#include "engine/device_group_agreement.h"
#include "engine/engine_internals.h"
#include "engine/memory_plan.h"
#include "kept/saved_latents.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/fenced_backend.h"
#include "support/plain_backend.h"
#include "unit/engine_fixture.h"

namespace wan::test {
namespace {

class EngineRanksTest : public EngineTest {};

TEST_F(EngineRanksTest, SeveralRanksMakeTheVideoOfOne) {
  const auto latents_of = [&](int ranks, const std::string& name) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (int rank = 0; rank < ranks; ++rank) backends.push_back(make_cpu_backend({.threads = 1}));
    GenerationRequest asked = request();
    asked.save_file = folder_ / (name + "_%05d.png");
    asked.save_latents = folder_ / (name + ".safetensors");
    int finished = 0;
    make_engine({.ckpt_dir = kCheckpoint}, std::move(backends)).generate(asked, [&](const Event& event) {
      finished += std::holds_alternative<Finished>(event) ? 1 : 0;
    });
    EXPECT_EQ(finished, 1) << "events are rank 0's";
    return std::move(load_latents(asked.save_latents).slots[0]);
  };
  const Tensor one = latents_of(1, "one");
  EXPECT_TRUE(all_close(latents_of(2, "two"), one, 1e-5));
}

TEST_F(EngineRanksTest, StepsOfSeveralRanksSayHowLongTheyWaited) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < 2; ++rank) backends.push_back(make_cpu_backend({.threads = 1}));
  int steps = 0;
  make_engine({.ckpt_dir = kCheckpoint}, std::move(backends)).generate(request(), [&](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress == nullptr) return;
    EXPECT_EQ(progress->waited.has_value(), progress->step > 0);
    EXPECT_TRUE(progress->devices.empty());
    if (!progress->waited) return;
    EXPECT_GE(progress->waited->first, 0);
    EXPECT_GE(progress->waited->longest, progress->waited->first);
    EXPECT_GT(progress->waited->longest, 0) << "two threads never come at once";
    ++steps;
  });
  EXPECT_EQ(steps, request().sample_steps);
}

TEST_F(EngineRanksTest, EventsTellOfEveryRanksDevice) {
  /// Has waited a second more whenever it is asked.
  class Waiting final : public FencedBackend {
   public:
    Waiting() : FencedBackend(make_cpu_backend({.threads = 1})) { leave_open(); }
    std::int64_t total_bytes() const override { return free_bytes(); }
    double waited_seconds() override { return waited_ += 1; }

   private:
    double waited_ = 0;
  };
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < 2; ++rank) backends.push_back(std::make_unique<Waiting>());
  int steps = 0;
  std::vector<DeviceUse> at_the_end;
  make_engine({.ckpt_dir = kCheckpoint}, std::move(backends)).generate(request(), [&](const Event& event) {
    if (const auto* finished = std::get_if<Finished>(&event)) at_the_end = finished->devices;
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress == nullptr || progress->phase == Phase::kLoad) return;
    ASSERT_EQ(progress->devices.size(), 2u);
    for (const DeviceUse& use : progress->devices) EXPECT_GT(use.used, 0);
    if (progress->step == 0) return;
    ++steps;
    EXPECT_EQ(progress->waited->first, 1) << "threads of devices do the waiting for nobody";
    EXPECT_EQ(progress->waited->longest, 1);
  });
  EXPECT_EQ(steps, request().sample_steps);
  ASSERT_EQ(at_the_end.size(), 2u);
  EXPECT_EQ(at_the_end[1].name, "cuda:0");
  EXPECT_GT(at_the_end[1].peak, 0);
}

TEST_F(EngineRanksTest, ThePlanOfSeveralRanksSaysWhyAndWhatEachHas) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < 2; ++rank) backends.push_back(make_cpu_backend({.threads = 1}));
  MemoryPlan plan = make_engine({.ckpt_dir = kCheckpoint, .memory_limit = 3'000'000'000}, std::move(backends))
                        .plan(request());
  EXPECT_EQ(plan.layout_reason, "every step has two passes");
  ASSERT_EQ(plan.rank_memory.size(), 2u);
  EXPECT_EQ(plan.rank_memory[0].peak, plan.peak);
  EXPECT_LE(plan.rank_memory[1].peak, plan.peak) << "it encodes no text";
  EXPECT_EQ(plan.rank_memory[1].available, 1'500'000'000);
  EXPECT_EQ(to_string(plan).find("rank 1"), std::string::npos) << "they are alike";
  plan.rank_memory[1].device = "cuda:3";
  plan.rank_memory[1].available = 2'000'000'000;
  EXPECT_NE(to_string(plan).find("of 2.000 GB, cuda:3"), std::string::npos) << to_string(plan);
  EXPECT_EQ(plan.transport, "host");
  const MemoryPlan alone = Engine({.ckpt_dir = kCheckpoint, .threads = 1}).plan(request());
  EXPECT_TRUE(alone.layout_reason.empty() && alone.transport.empty() && alone.rank_memory.empty());
}

TEST_F(EngineRanksTest, OneRankEncodesTextForAll) {
  /// Counts ops of the text encoder's alone.
  class Counting final : public PlainBackend {
   public:
    explicit Counting(int& count) : count_(count) {}
    using PlainBackend::supports;
    bool supports(const EmbeddingArgs&) const override {
      ++count_;
      return false;
    }

   private:
    int& count_;
  };
  std::array<int, 2> counts{};
  std::vector<std::unique_ptr<Backend>> backends;
  for (int& count : counts) backends.push_back(std::make_unique<Counting>(count));
  GenerationRequest asked = request();
  asked.size = VideoSize{48, 32};
  Engine engine = make_engine({.ckpt_dir = kCheckpoint, .keep_models = false}, std::move(backends));
  const MemoryPlan plan = engine.plan(asked);
  ASSERT_EQ(plan.rank_memory.size(), counts.size());
  EXPECT_LT(plan.rank_memory[1].peak, plan.rank_memory[0].peak);
  EXPECT_NE(to_string(plan).find("rank 0 encodes for all"), std::string::npos) << to_string(plan);
  engine.generate(asked);
  EXPECT_GT(counts[0], 0);
  EXPECT_EQ(counts[1], 0);
}

TEST(DeviceGroups, AreAgreedOnWhereAllProcessesHaveThemAndADeviceForEachRank) {
  const DeviceGroupSupport first{.library = "NCCL 2.28.9", .device = "a"};
  const auto reason = [&](const DeviceGroupSupport& second) {
    DeviceGroupAgreement agreement;
    agreement.add(first, "node1");
    agreement.add(second, "node2");
    return agreement.reason();
  };
  EXPECT_EQ(reason({.library = "NCCL 2.28.9", .device = "b"}), "");
  EXPECT_EQ(reason({.library = "NCCL 2.27.7", .device = "b"}), "node2 has NCCL 2.27.7, others NCCL 2.28.9");
  EXPECT_EQ(reason({.reason = "NCCL is not installed"}), "on node2 NCCL is not installed");
  EXPECT_EQ(reason({.library = "NCCL 2.28.9", .device = "a"}),
            "two ranks share a device, one of them on node2");
  DeviceGroupAgreement none;
  none.add({}, "node1");
  EXPECT_EQ(none.library() + none.reason(), "") << "the host's memory needs none";
}

TEST_F(EngineRanksTest, RanksStopAtTheSameStep) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < 2; ++rank) backends.push_back(make_cpu_backend({.threads = 1}));
  Engine engine = make_engine({.ckpt_dir = kCheckpoint}, std::move(backends));
  GenerationRequest asked = request();
  asked.sample_steps = 4;
  asked.save_latents = folder_ / "kept.safetensors";
  std::atomic<bool> cancelled{false};
  const auto stop = [&](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress != nullptr && progress->step == 2) cancelled = true;
  };
  expect_error(ErrorCode::kCancelled, "2 of 4 steps are kept",
               [&] { engine.generate(asked, stop, &cancelled); });
  EXPECT_EQ(load_latents(asked.save_latents).next_step, 2);
}

TEST_F(EngineRanksTest, ARankThatFailsEndsTheOthersAndIsNamed) {
  class Failing final : public PlainBackend {
   public:
    using PlainBackend::run;
    using PlainBackend::supports;
    bool supports(const AttentionArgs&) const override { return !failed_; }
    void run(ExecContext&, const AttentionArgs&) override {
      failed_ = true;
      fail(ErrorCode::kDevice, "the second device has failed");
    }

   private:
    bool failed_ = false;
  };
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_cpu_backend({.threads = 1}));
  backends.push_back(std::make_unique<Failing>());
  GenerationRequest asked = request();
  asked.size = VideoSize{48, 32};
  Engine engine = make_engine({.ckpt_dir = kCheckpoint}, std::move(backends));
  expect_error(ErrorCode::kDevice, "the second device has failed", [&] { engine.generate(asked); });
  engine.generate(asked);  // the next video is not the failed one's
}

TEST_F(EngineRanksTest, ARankThatFailsWhileDecodingLeavesTheFinishedLatents) {
  class Failing final : public PlainBackend {
   public:
    using PlainBackend::run;
    using PlainBackend::supports;
    bool supports(const Conv3dArgs&) const override { return left_-- == 0; }  // the VAE's alone
    void run(ExecContext&, const Conv3dArgs&) override {
      fail(ErrorCode::kDevice, "the second device has failed");
    }

   private:
    mutable int left_ = 10;
  };
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_cpu_backend({.threads = 1}));
  backends.push_back(std::make_unique<Failing>());
  GenerationRequest asked = request();
  asked.size = VideoSize{48, 32};
  asked.save_latents = folder_ / "kept.safetensors";
  Engine engine = make_engine({.ckpt_dir = kCheckpoint}, std::move(backends));
  expect_error(
      ErrorCode::kDevice,
      "the second device has failed; the finished latents are kept in " + asked.save_latents.string(),
      [&] { engine.generate(asked); });
  EXPECT_TRUE(load_latents(asked.save_latents).finished());
  EXPECT_FALSE(std::filesystem::exists(asked.save_file));
  engine.generate(asked);  // the next video is not the failed one's
}

TEST_F(EngineRanksTest, RanksStopAfterTheSameGroupOfFrames) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < 2; ++rank) backends.push_back(make_cpu_backend({.threads = 1}));
  Engine engine = make_engine({.ckpt_dir = kCheckpoint}, std::move(backends));
  GenerationRequest asked = request();
  asked.frame_num = 13;
  asked.save_latents = folder_ / "kept.safetensors";
  std::atomic<bool> cancelled{false};
  std::int64_t decoded = 0;
  const auto stop = [&](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress == nullptr || progress->phase != Phase::kDecode) return;
    decoded = progress->done;
    cancelled = true;
  };
  expect_error(ErrorCode::kCancelled, "the finished latents are kept in " + asked.save_latents.string(),
               [&] { engine.generate(asked, stop, &cancelled); });
  EXPECT_EQ(decoded, 1) << "frames of the first group";
}

TEST(PlannedRanks, WithLessMemoryForTheVaeDecideForAll) {
  std::vector<PlannedRun> ranks(3);
  ranks[0].decode = {.tile_height = 9, .tile_width = 9, .bytes = 300};
  ranks[1].decode = {.frame_by_frame = true, .tile_height = 9, .tile_width = 9, .bytes = 200};
  ranks[2].decode = ranks[0].decode;
  ranks[2].encode = {.tile_height = 4, .tile_width = 4, .bytes = 10};
  ranks[0].encode = ranks[1].encode = {.tile_height = 9, .tile_width = 9, .bytes = 100};
  share_vae_plans(ranks);
  for (const PlannedRun& rank : ranks) {
    EXPECT_TRUE(rank.decode.frame_by_frame);
    EXPECT_EQ(rank.encode.tile_height, 4);
  }
}

TEST_F(EngineRanksTest, RanksAreAtMostAsManyAsHeadsAndGpusAreNamedOnce) {
  expect_error(ErrorCode::kInvalidArgument, "attention heads are divided over at most",
               [] { Engine({.ckpt_dir = kCheckpoint, .device = "cpu", .ulysses_size = 99}); });
  expect_error(ErrorCode::kInvalidArgument, "`ulysses_size`",
               [] { Engine({.ckpt_dir = kCheckpoint, .ulysses_size = -1}); });
  expect_error(ErrorCode::kInvalidArgument, "`gpus` names 2", [] {
    Engine({.ckpt_dir = kCheckpoint, .gpus = {0, 1}, .ulysses_size = 3});
  });
  expect_error(ErrorCode::kInvalidArgument, "1 is there twice", [] {
    Engine({.ckpt_dir = kCheckpoint, .gpus = {1, 1}});
  });
  expect_error(ErrorCode::kInvalidArgument, "contradicts `gpus`",
               [] { Engine({.ckpt_dir = kCheckpoint, .device = "cpu", .gpus = {0}}); });
}

}  // namespace
}  // namespace wan::test
