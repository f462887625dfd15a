// Ranks that divide blocks among themselves, through the engine: the video of whole blocks, plans against what runs take, and failures.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "engine/engine_internals.h"
#include "engine/memory_plan.h"
#include "kept/saved_latents.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/fenced_backend.h"
#include "support/golden_checkpoint.h"
#include "support/plain_backend.h"
#include "support/temp_folder.h"
#include "tasks/task_table.h"
#include "wan/engine.h"

namespace wan::test {
namespace {

class ShardingTest : public testing::Test {
 protected:
  static constexpr const char* kDemo = "models/demo";  // four heads, more bytes in blocks than beside them

  GenerationRequest request() const {
    GenerationRequest request;
    request.prompt = "a red circle moves right";
    request.negative_prompt = "blurry";
    request.rng = "torch-cpu";
    request.size = VideoSize{32, 32};  // so that blocks are the most of it
    request.frame_num = 1;
    request.sample_steps = 3;
    request.seed = 1;
    request.save_file = folder_ / "frame_%05d.png";
    return request;
  }
  static EngineOptions options() {
    return {
        .ckpt_dir = std::filesystem::path(WAN_SOURCE_DIR) / kDemo, .precision = "fp32", .keep_models = false};
  }
  static std::unique_ptr<Backend> make(bool device) {
    std::unique_ptr<Backend> cpu = make_cpu_backend({.threads = 1});
    if (!device) return cpu;
    auto fenced = std::make_unique<FencedBackend>(std::move(cpu));
    fenced->leave_open();
    return fenced;
  }
  static std::vector<std::unique_ptr<Backend>> backends(int ranks, bool device = false) {
    std::vector<std::unique_ptr<Backend>> made;
    for (int rank = 0; rank < ranks; ++rank) made.push_back(make(device));
    return made;
  }
  Tensor latents(Engine& engine, const EventHandler& on_event = {}) const {
    GenerationRequest asked = request();
    asked.save_latents = folder_ / "latents.safetensors";
    engine.generate(asked, on_event);
    return std::move(load_latents(asked.save_latents).slots[0]);
  }
  static bool equal(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && std::memcmp(a.view().data(), b.view().data(), a.bytes()) == 0;
  }
  TempFolder folder_;
};

TEST_F(ShardingTest, TheVideoIsThatOfWholeBlocks) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    Engine whole = make_engine(options(), backends(ranks));
    const Tensor expected = latents(whole);
    for (const auto& [dit, text] : {std::pair(true, true), std::pair(true, false), std::pair(false, true)})
      for (const bool keep : {false, true}) {
        if (!(dit && text && keep) && ranks != 2) continue;
        EngineOptions divided = options();
        divided.dit_fsdp = dit;
        divided.t5_fsdp = text;
        divided.keep_models = keep;
        Engine engine = make_engine(divided, backends(ranks));
        const MemoryPlan plan = engine.plan(request());
        EXPECT_EQ(plan.shards, ranks);
        EXPECT_EQ(plan.sharded_blocks, dit && ranks > 1 ? plan.transformer_blocks : 0);
        EXPECT_EQ(plan.text_encoder_sharded, text && ranks > 1);
        int loads = 0;
        const auto count_loads = [&](const Event& event) {
          const auto* phase = std::get_if<PhaseStarted>(&event);
          loads += phase != nullptr && phase->phase == Phase::kLoad ? 1 : 0;
        };
        for (int video = 0; video < 2; ++video)
          EXPECT_TRUE(equal(latents(engine, count_loads), expected)) << ranks << " ranks, video " << video;
        EXPECT_EQ(loads, keep ? 1 : 2);
      }
  }
}

/// What blocks take by the plan is what ranks take, by the largest of them.
TEST_F(ShardingTest, ThePlanIsWhatARankTakes) {
  MemoryPlan whole;
  for (const int ranks : {1, 2, 3})
    for (const bool device : {false, true})
      for (const auto& [dit, text] :
           {std::pair(true, true), std::pair(true, false), std::pair(false, true)}) {
        if (!(dit && text) && ranks != 2) continue;
        std::vector<std::unique_ptr<Backend>> made = backends(ranks, device);
        std::vector<const Backend*> seen;
        for (const auto& backend : made) seen.push_back(backend.get());
        EngineOptions divided = options();
        divided.dit_fsdp = dit;
        divided.t5_fsdp = text;
        Engine engine = make_engine(divided, std::move(made));
        const MemoryPlan plan = engine.plan(request());
        engine.generate(request());
        std::int64_t taken = 0;
        for (const Backend* backend : seen) taken = std::max(taken, backend->memory_use().peak);
        const auto planned = static_cast<double>(plan.peak - plan.program);
        EXPECT_NEAR(planned / static_cast<double>(taken), 1.0, 0.02)
            << ranks << " ranks: " << to_string(plan);
        if (ranks == 1) {
          whole = plan;
          continue;
        }
        if (!dit) continue;  // the demo's text encoder has two blocks, and as many places
        EXPECT_LT(plan.peak - plan.program, (whole.peak - whole.program) * 9 / 10) << to_string(plan);
        EXPECT_LT(plan.transformers, whole.transformers * 3 / 4) << to_string(plan);
      }
}

TEST_F(ShardingTest, WhereNotAllBlocksFitTheOthersAreStreamed) {
  Engine whole = make_engine(options(), backends(2, true));
  const Tensor expected = latents(whole);
  EngineOptions divided = options();
  divided.dit_fsdp = divided.t5_fsdp = true;
  const MemoryPlan all = make_engine(divided, backends(2, true)).plan(request());
  EngineOptions streamed = divided;
  streamed.residency = "streamed";
  const MemoryPlan none = make_engine(streamed, backends(2, true)).plan(request());
  EXPECT_EQ(none.shards, 1);
  EXPECT_EQ(none.sharded_blocks, 0);
  int blocks = all.sharded_blocks + 1;
  int between = 0;
  for (int percent = 100; percent >= 0; percent -= 5) {
    divided.memory_limit = none.peak + (all.peak - none.peak) * percent / 100;
    Engine engine = make_engine(divided, backends(2, true));
    const MemoryPlan plan = engine.plan(request());
    EXPECT_LE(plan.peak, divided.memory_limit);
    EXPECT_LE(plan.sharded_blocks, blocks);
    if (plan.sharded_blocks > 0 && plan.sharded_blocks < all.sharded_blocks && plan.sharded_blocks < blocks) {
      ++between;
      EXPECT_NE(to_string(plan).find("blocks sharded over 2 ranks, the others streamed"), std::string::npos);
      EXPECT_TRUE(equal(latents(engine), expected)) << to_string(plan);
    }
    blocks = plan.sharded_blocks;
  }
  EXPECT_GT(between, 0) << to_string(all) << to_string(none);
  divided.residency = "resident";
  divided.memory_limit = none.peak;
  expect_error(ErrorCode::kOutOfMemory, "or `residency` streamed",
               [&] { make_engine(divided, backends(2, true)).plan(request()); });
}

TEST_F(ShardingTest, MixedSizesDivideAlikeWhereModelsStay) {
  GenerationRequest large = request();
  large.size = VideoSize{192, 192};
  large.frame_num = 5;
  EngineOptions divided = options();
  divided.dit_fsdp = divided.t5_fsdp = true;
  divided.keep_models = true;
  // As much as all blocks need beside the small one, and not beside the large one.
  const MemoryPlan all = make_engine(divided, backends(2, true)).plan(large);
  MemoryPlan plan = all;
  for (divided.memory_limit = all.peak; plan.sharded_blocks == all.sharded_blocks;) {
    divided.memory_limit -= all.transformers / 8;
    plan = make_engine(divided, backends(2, true)).plan(large);
  }
  ASSERT_GT(plan.sharded_blocks, 0);
  Engine engine = make_engine(divided, backends(2, true));
  EXPECT_GT(engine.plan(request()).sharded_blocks, plan.sharded_blocks);
  engine.expect(large);
  int loads = 0;
  for (const GenerationRequest& asked : {request(), large, request()}) {
    EXPECT_EQ(engine.plan(asked).sharded_blocks, plan.sharded_blocks);
    engine.generate(asked, [&](const Event& event) {
      const auto* phase = std::get_if<PhaseStarted>(&event);
      loads += phase != nullptr && phase->phase == Phase::kLoad ? 1 : 0;
    });
  }
  EXPECT_EQ(loads, 1);
}

/// Of so much memory, which tells what was the most.
class SmallDevice final : public FencedBackend {
 public:
  SmallDevice(std::int64_t bytes) : FencedBackend(make_cpu_backend({.threads = 1})), bytes_(bytes) {
    leave_open();
  }
  std::int64_t free_bytes() const override { return bytes_ - memory_use().now; }

 private:
  std::int64_t bytes_;
};

TEST_F(ShardingTest, RanksDivideWhatFitsOnTheSmallest) {
  EngineOptions divided = options();
  divided.dit_fsdp = divided.t5_fsdp = true;
  const MemoryPlan all = make_engine(divided, backends(2, true)).plan(request());
  for (const std::int64_t less : {all.peak / 10, all.peak / 5})
    for (const bool keep : {false, true}) {
      divided.keep_models = keep;
      std::vector<std::unique_ptr<Backend>> made;
      made.push_back(std::make_unique<SmallDevice>(2 * all.peak));
      made.push_back(std::make_unique<SmallDevice>(all.peak - less));
      const Backend& small = *made.back();
      Engine engine = make_engine(divided, std::move(made));
      EXPECT_LT(engine.plan(request()).sharded_blocks, all.sharded_blocks);
      engine.generate(request());
      EXPECT_LE(small.memory_use().peak, all.peak - less);
      engine.generate(request());
    }
}

/// Calls `before` whenever memory is wanted.
class AskingBackend final : public PlainBackend, Allocator {
 public:
  explicit AskingBackend(std::function<void()> before) : before_(std::move(before)) {}
  Allocator& allocator() override { return *this; }
  Device device() const override { return {}; }
  std::byte* allocate(std::size_t bytes) override {
    before_();
    return cpu_allocator().allocate(bytes);
  }
  void release(std::byte* data, std::size_t bytes) noexcept override { cpu_allocator().release(data, bytes); }

 private:
  std::function<void()> before_;
};

TEST_F(ShardingTest, DevicesWithoutLinksDivideNothingAndSaySo) {
  class Unlinked final : public FencedBackend {
   public:
    Unlinked() : FencedBackend(make_cpu_backend({.threads = 1})) { leave_open(); }
    void share_memory_with(const ComputeDevice&) override { fail(ErrorCode::kUnsupported, "no direct link"); }
  };
  const auto unlinked = [] {
    std::vector<std::unique_ptr<Backend>> made;
    for (int rank = 0; rank < 2; ++rank) made.push_back(std::make_unique<Unlinked>());
    return made;
  };
  EngineOptions divided = options();
  divided.dit_fsdp = true;
  Engine whole = make_engine(options(), backends(2, /*device=*/true));
  Engine engine = make_engine(divided, unlinked());
  EXPECT_EQ(engine.plan(request()).shards, 1);
  int told = 0;
  const Tensor made = latents(engine, [&](const Event& event) {
    if (const auto* notice = std::get_if<Notice>(&event))
      told += notice->message.find("cannot read each other's memory") != std::string::npos ? 1 : 0;
  });
  EXPECT_TRUE(equal(made, latents(whole)));
  EXPECT_EQ(told, 1);
  divided.p2p = "on";
  expect_error(ErrorCode::kUnsupported, "no direct link", [&] { make_engine(divided, unlinked()); });
}

TEST_F(ShardingTest, ARankThatCannotLoadEndsAllOfThem) {
  std::atomic<bool> broken{false};
  std::atomic<bool> first_is_loaded{false};
  for (const bool late : {false, true}) {  // after the first rank has loaded all of its models
    EngineOptions divided = options();
    divided.ckpt_dir = kCheckpoint;
    divided.dit_fsdp = divided.t5_fsdp = true;
    divided.keep_models = true;
    std::vector<std::unique_ptr<Backend>> made;
    made.push_back(make(false));
    made.push_back(std::make_unique<AskingBackend>([&] {
      for (int i = 0; broken && late && !first_is_loaded && i < 10000; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      WAN_CHECK(!broken, kOutOfMemory, "the second rank has no memory");
    }));
    Engine engine = make_engine(divided, std::move(made));
    int loads = 0;
    const auto watch = [&](const Event& event) {
      const auto* begun = std::get_if<PhaseStarted>(&event);
      const auto* ended = std::get_if<PhaseFinished>(&event);
      loads += begun != nullptr && begun->phase == Phase::kLoad ? 1 : 0;
      if (ended != nullptr && ended->phase == Phase::kLoad) first_is_loaded = true;
    };
    broken = true;
    first_is_loaded = false;
    expect_error(ErrorCode::kOutOfMemory, "the second rank has no memory",
                 [&] { engine.generate(request(), watch); });
    EXPECT_TRUE(first_is_loaded || !late);  // otherwise either rank may be the sooner one
    broken = false;
    loads = 0;
    engine.generate(request(), watch);
    EXPECT_EQ(loads, 1) << "what ranks hold for one another they load together";
    engine.generate(request(), watch);
    EXPECT_EQ(loads, 1);
  }
}

TEST_F(ShardingTest, AFileThatIsCutShortEndsAllRanks) {
  const std::filesystem::path copy = folder_ / "checkpoint";
  std::filesystem::copy(options().ckpt_dir, copy, std::filesystem::copy_options::recursive);
  EngineOptions divided = options();
  divided.ckpt_dir = copy;
  divided.dit_fsdp = divided.t5_fsdp = true;
  Engine engine = make_engine(divided, backends(3));
  const std::filesystem::path file = copy / "high_noise_model/diffusion_pytorch_model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  expect_error(ErrorCode::kBadFile, "cut short while it was read", [&] { engine.generate(request()); });
}

TEST_F(ShardingTest, TheTextEncodersPartsGoBeforeAnyRankTakesMemoryForTheSteps) {
  /// Comes late with its prompts' tokens.
  class Late final : public FencedBackend {
   public:
    explicit Late(int milliseconds) : FencedBackend(make_cpu_backend({.threads = 1})), late_(milliseconds) {
      leave_open();
    }
    void upload(const TensorView& host, const TensorView& device) override {
      if (host.rank() == 2 && host.dim(1) == 128) std::this_thread::sleep_for(late_);
      FencedBackend::upload(host, device);
    }

   private:
    std::chrono::milliseconds late_;
  };
  EngineOptions divided = options();
  divided.dit_fsdp = divided.t5_fsdp = true;
  // What the first rank has when its steps begin.
  const auto held = [&](int milliseconds) {
    std::vector<std::unique_ptr<Backend>> made = backends(1, true);
    const Backend& first = *made.front();
    made.push_back(std::make_unique<Late>(milliseconds));
    Engine engine = make_engine(divided, std::move(made));
    std::int64_t bytes = 0;
    engine.generate(request(), [&](const Event& event) {
      const auto* phase = std::get_if<PhaseStarted>(&event);
      if (phase != nullptr && phase->phase == Phase::kHighNoise) bytes = first.memory_use().now;
    });
    return bytes;
  };
  EXPECT_EQ(held(200), held(0));
}

TEST_F(ShardingTest, AStopWhileLoadingStopsAllRanks) {
  EngineOptions divided = options();
  divided.dit_fsdp = divided.t5_fsdp = true;
  Engine engine = make_engine(divided, backends(3));
  std::atomic<bool> cancelled{false};
  const auto stop = [&](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress != nullptr && progress->phase == Phase::kLoad) cancelled = true;
  };
  expect_error(ErrorCode::kCancelled, "", [&] { engine.generate(request(), stop, &cancelled); });
}

TEST(ShardedPlansOfThePublishedModels, TakeWhatTheirBlocksAndPlacesDo) {
  const auto backend = make_cpu_backend({.threads = 2});
  const auto planned = [&](int ranks, const Sharding& sharding) {
    return plan_run({.models = official_shapes(find_task("t2v-A14B"), {}),
                     .backend = *backend,
                     .latent = {16, 21, 90, 160},
                     .weights = DType::kBF16,
                     .encodes = std::nullopt,
                     .residency = "resident",
                     .memory_limit = std::int64_t{1} << 40,
                     .keep_models = false,
                     .sharding = sharding,
                     .layout = {.sequence = ranks}})
        .plan;
  };
  const MemoryPlan one = planned(1, {});
  // Of 80 blocks N ranks leave 80/N and two whole ones on each, and what is beside the blocks.
  const auto saved_blocks = [](int ranks) { return 80.0 - 80.0 / ranks - 2.0; };
  double block = 0;
  for (const int ranks : {2, 4, 8}) {
    const MemoryPlan plan =
        planned(ranks, {.ranks = ranks, .transformer_blocks = kAllBlocks, .text_encoder = true});
    const auto saved = static_cast<double>(one.transformers - plan.transformers);
    if (ranks == 2) block = saved / saved_blocks(ranks);
    EXPECT_NEAR(saved / saved_blocks(ranks), block, 1e-3 * block);
    EXPECT_NEAR(static_cast<double>(plan.text_encoder) * ranks, static_cast<double>(one.text_encoder),
                0.2 * static_cast<double>(one.text_encoder));
    EXPECT_NE(to_string(plan).find(fmt::format("sharded over {} ranks", ranks)), std::string::npos);
  }
  EXPECT_NEAR(block * 1e-9, 0.70, 0.01);  // 351e6 parameters in bf16
}

}  // namespace
}  // namespace wan::test
