// What the engine decides before it loads anything: plans, refusals, resumed settings.

#include "wan/engine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

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
#include "wan/tools.h"

namespace wan::test {
namespace {

class EngineTest : public testing::Test {
 protected:
  GenerationRequest request() const {
    GenerationRequest request;
    request.prompt = prompt_;
    request.negative_prompt = negative_prompt_;
    request.size = VideoSize{128, 64};
    request.frame_num = 5;
    request.sample_steps = 2;
    request.seed = 1;
    request.save_file = folder_ / "video.mp4";
    return request;
  }
  MemoryPlan plan(const std::string& residency, std::int64_t limit, bool keep_models = true) const {
    return Engine({.ckpt_dir = kCheckpoint,
                   .residency = residency,
                   .keep_models = keep_models,
                   .memory_limit = limit})
        .plan(request());
  }
  std::string prompt_ = "a red circle";
  std::string negative_prompt_ = "blurry";
  TempFolder folder_;
};

TEST_F(EngineTest, PlansGetSmallerAsMemoryDoes) {
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

TEST_F(EngineTest, PlansLeaveToADevicesLibrariesWhatTheyTake) {
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

TEST_F(EngineTest, AsManyBlocksHaveAPlaceAsFit) {
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
  for (int percent = 100; percent > 0; --percent) {
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
    EXPECT_EQ(planned.blocks_resident, planned.block_places == all.block_places);
    places = planned.block_places;
    if (places > 2 && !planned.blocks_resident) ++between;
  }
  EXPECT_GT(between, 0);
  EXPECT_EQ(places, 2) << "the last resort";
}

TEST_F(EngineTest, ThePartsOfAPlanAddUp) {
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

TEST_F(EngineTest, WeightsThatAreGivenBackLeaveRoom) {
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

TEST_F(EngineTest, TooLittleMemoryIsRefusedWithNumbersAndARemedy) {
  expect_error(ErrorCode::kOutOfMemory, "`size`", [&] { plan("auto", 100'000); });
  expect_error(ErrorCode::kOutOfMemory, "`residency` streamed", [&] { plan("resident", 100'000); });
  expect_error(ErrorCode::kInvalidArgument, "`residency`", [&] { plan("elsewhere", 0); });
}

TEST_F(EngineTest, RefusesOptionsThatItCannotMeet) {
  expect_error(ErrorCode::kUnsupported, "CUDA",
               [] { Engine({.ckpt_dir = kCheckpoint, .device = "cuda:0"}); });
  expect_error(ErrorCode::kInvalidArgument, "`device`",
               [] { Engine({.ckpt_dir = kCheckpoint, .device = "tpu"}); });
  expect_error(ErrorCode::kInvalidArgument, "`precision`",
               [] { Engine({.ckpt_dir = kCheckpoint, .precision = "fp8"}); });
  expect_error(ErrorCode::kInvalidArgument, "`vae_precision`",
               [] { Engine({.ckpt_dir = kCheckpoint, .vae_precision = "fp16"}); });
  expect_error(ErrorCode::kInvalidArgument, "`threads`",
               [] { Engine({.ckpt_dir = kCheckpoint, .threads = -1}); });
  expect_error(ErrorCode::kBadFile, "does not exist", [&] { Engine({.ckpt_dir = folder_ / "nowhere"}); });
  expect_error(ErrorCode::kBadFile, "high_noise_model", [&] { Engine({.ckpt_dir = folder_.path()}); });
}

TEST_F(EngineTest, AnErrorSaysWhichMemberIsWrong) {
  const Engine engine({.ckpt_dir = kCheckpoint, .threads = 1});
  const std::filesystem::path nowhere = folder_ / "nowhere";
  const std::pair<const char*, std::function<void(GenerationRequest&)>> requests[] = {
      {"task", [](auto& r) { r.task = "i2v-A14B"; }},
      {"prompt", [](auto& r) { r.prompt = ""; }},
      {"prompt", [](auto& r) { r.prompt = "\xff"; }},
      {"negative_prompt", [](auto& r) { r.negative_prompt = "\xff"; }},
      {"size",
       [](auto& r) {
         r.size = {33, 32};
       }},
      {"frame_num", [](auto& r) { r.frame_num = 6; }},
      {"sample_solver", [](auto& r) { r.sample_solver = "heun"; }},
      {"sample_steps", [](auto& r) { r.sample_steps = 0; }},
      {"sample_shift", [](auto& r) { r.sample_shift = -1; }},
      {"sample_guide_scale",
       [](auto& r) {
         r.sample_guide_scale = {1, INFINITY};
       }},
      {"rng", [](auto& r) { r.rng = "dice"; }},
      {"image", [](auto& r) { r.image = "cat.png"; }},
      {"last_image", [](auto& r) { r.last_image = "cat.png"; }},
      {"save_file", [](auto& r) { r.save_file = ""; }},
      {"save_file", [](auto& r) { r.save_file = "a.gif"; }},
      {"save_file", [&](auto& r) { r.save_file = nowhere / "a.mp4"; }},
      {"fps", [](auto& r) { r.output.fps = 0; }},
      {"codec", [](auto& r) { r.output.codec = "gif"; }},
      {"crf", [](auto& r) { r.output.crf = 99; }},
      {"save_latents", [](auto& r) { r.save_latents = "latents"; }},
      {"save_latents", [&](auto& r) { r.save_latents = nowhere / "a.safetensors"; }},
      {"from_latents", [&](auto& r) { r.from_latents = nowhere; }},
      {"dump_dir", [&](auto& r) { r.dump_dir = nowhere / "dump"; }},
      {"dump_taps", [](auto& r) { r.dump_taps = true; }},
  };
  for (const auto& [field, spoil] : requests) {
    GenerationRequest spoiled = request();
    spoil(spoiled);
    try {
      engine.check(spoiled);
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.field(), field) << error.what();
    }
  }
  try {
    const Engine none({.ckpt_dir = nowhere});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "ckpt_dir") << error.what();
  }
}

TEST_F(EngineTest, SeveralRanksMakeTheVideoOfOne) {
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

TEST_F(EngineTest, StepsOfSeveralRanksSayHowLongTheyWaited) {
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

TEST_F(EngineTest, EventsTellOfEveryRanksDevice) {
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

TEST_F(EngineTest, ThePlanOfSeveralRanksSaysWhyAndWhatEachHas) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < 2; ++rank) backends.push_back(make_cpu_backend({.threads = 1}));
  MemoryPlan plan = make_engine({.ckpt_dir = kCheckpoint, .memory_limit = 1'000'000'000}, std::move(backends))
                        .plan(request());
  EXPECT_EQ(plan.layout_reason, "every step has two passes");
  ASSERT_EQ(plan.rank_memory.size(), 2u);
  EXPECT_EQ(plan.rank_memory[1].peak, plan.peak);
  EXPECT_EQ(plan.rank_memory[1].available, 500'000'000);
  EXPECT_EQ(to_string(plan).find("rank 1"), std::string::npos) << "they are alike";
  plan.rank_memory[1].device = "cuda:3";
  plan.rank_memory[1].available = 2'000'000'000;
  EXPECT_NE(to_string(plan).find("of 2.000 GB, cuda:3"), std::string::npos) << to_string(plan);
  const nlohmann::json json = nlohmann::json::parse(to_json(plan));
  EXPECT_EQ(json["layout_reason"], "every step has two passes");
  EXPECT_EQ(json["rank_memory"][1],
            (nlohmann::json{{"device", "cuda:3"}, {"peak", plan.peak}, {"available", 2'000'000'000}}));
  const nlohmann::json alone =
      nlohmann::json::parse(to_json(Engine({.ckpt_dir = kCheckpoint, .threads = 1}).plan(request())));
  EXPECT_FALSE(alone.contains("layout_reason") || alone.contains("rank_memory"));
}

TEST_F(EngineTest, RanksStopAtTheSameStep) {
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

TEST_F(EngineTest, ARankThatFailsEndsTheOthersAndIsNamed) {
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

TEST_F(EngineTest, ARankThatFailsWhileDecodingLeavesTheFinishedLatents) {
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

TEST_F(EngineTest, RanksStopAfterTheSameGroupOfFrames) {
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

TEST_F(EngineTest, RanksAreAtMostAsManyAsHeadsAndGpusAreNamedOnce) {
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

TEST_F(EngineTest, WhatTheCallersHandlerThrowsIsAnErrorOfTheRun) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  const auto throw_at = [&](const std::function<bool(const Event&)>& when, auto thrown,
                            const char* expected) {
    GenerationRequest asked = request();
    asked.save_file = folder_ / "x.png";
    asked.frame_num = 1;
    expect_error(ErrorCode::kInternal, expected, [&] {
      engine.generate(asked, [&](const Event& event) {
        if (when(event)) throw thrown;
      });
    });
  };
  const auto is_first = [](const Event& event) { return std::holds_alternative<RunSettings>(event); };
  const auto is_last = [](const Event& event) { return std::holds_alternative<Finished>(event); };
  const auto is_step = [](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    return progress != nullptr && progress->step == 1;
  };
  const auto is_frame = [](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    return progress != nullptr && progress->phase == Phase::kDecode;
  };
  throw_at(is_first, std::runtime_error("no screen"), "no screen");
  throw_at(is_first, 7, "no std::exception");
  throw_at(is_step, 7, "1 of 2 steps are kept");
  throw_at(is_frame, 7, "the finished latents are kept");
  throw_at(is_last, std::runtime_error("no screen"), "x.png is whole, but");
  throw_at(is_last, 7, "x.png is whole, but");
}

TEST_F(EngineTest, RefusesSizesAndFrameNumbersThatNoVideoHas) {
  constexpr int kLeast = std::numeric_limits<int>::min();
  constexpr int kMost = std::numeric_limits<int>::max();
  const Engine text({.ckpt_dir = kCheckpoint});
  for (const VideoSize size :
       {VideoSize{0, 0}, {0, 64}, {-128, 64}, {-128, -64}, {kLeast, kLeast}, {kMost, 64}}) {
    GenerationRequest wrong = request();
    wrong.size = size;
    expect_error(ErrorCode::kInvalidArgument, "`size` " + format_video_size(size),
                 [&] { text.check(wrong); });
  }
  const Engine image({.ckpt_dir = kCheckpoint.parent_path() / "checkpoint_i2v"});
  for (const VideoSize size : {VideoSize{0, 0}, {-128, -64}, {-128, 64}}) {
    GenerationRequest wrong = request();
    wrong.task = "i2v-A14B";
    wrong.image = kCheckpoint.parent_path() / "landscape.png";
    wrong.size = size;
    expect_error(ErrorCode::kInvalidArgument, "`size` " + format_video_size(size),
                 [&] { image.check(wrong); });
  }
  for (const auto& [frames, part] : {std::pair(100'001, "at most 99997"),
                                     {kMost, "at most 99997"},
                                     {99'999, "at most"},
                                     {99'996, "nearest is 99997"},
                                     {0, "nearest is 1"},
                                     {kLeast, "nearest is 1"}}) {
    GenerationRequest wrong = request();
    wrong.frame_num = frames;
    expect_error(ErrorCode::kInvalidArgument, part, [&] { text.check(wrong); });
  }
}

TEST_F(EngineTest, OneEngineMakesSeveralVideosAndTheSameSeedTheSameOne) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  GenerationRequest still = request();
  still.frame_num = 1;
  still.save_file = folder_ / "a.png";
  int loads = 0;
  const auto count_loads = [&](const Event& event) {
    if (const auto* phase = std::get_if<PhaseStarted>(&event)) loads += phase->phase == Phase::kLoad ? 1 : 0;
  };
  engine.generate(still, count_loads);
  still.save_file = folder_ / "b.png";
  const GenerationResult second = engine.generate(still, count_loads);
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(second.frames, 1);
  EXPECT_EQ(second.seed, 1);
  still.save_file = folder_ / "c.png";
  still.seed = 2;
  engine.generate(still);
  const auto bytes = [&](const char* name) {
    std::ifstream stream(folder_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  EXPECT_EQ(bytes("a.png"), bytes("b.png"));
  EXPECT_NE(bytes("a.png"), bytes("c.png"));

  Engine forgetful({.ckpt_dir = kCheckpoint, .keep_models = false, .threads = 2});
  still.seed = 1;
  loads = 0;
  for (const char* name : {"d.png", "e.png"}) {
    still.save_file = folder_ / name;
    forgetful.generate(still, count_loads);
    EXPECT_EQ(bytes("a.png"), bytes(name));
  }
  EXPECT_EQ(loads, 2);
}

TEST_F(EngineTest, ACancelledRunKeepsItsStateAndGoesOnToTheSameVideo) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  GenerationRequest whole = request();
  whole.sample_steps = 4;
  whole.frame_num = 1;
  whole.save_file = folder_ / "whole.png";
  engine.generate(whole);

  GenerationRequest stopped = whole;
  stopped.save_file = folder_ / "stopped.png";
  std::atomic<bool> cancelled{false};
  const auto stop_after_two = [&](const Event& event) {
    if (const auto* progress = std::get_if<PhaseProgress>(&event))
      cancelled = cancelled || progress->step == 2;
  };
  const std::string kept = stopped.save_file.string() + ".latents.safetensors";
  expect_error(ErrorCode::kCancelled, "2 of 4 steps are kept in " + kept,
               [&] { engine.generate(stopped, stop_after_two, &cancelled); });
  EXPECT_FALSE(std::filesystem::exists(stopped.save_file));

  GenerationRequest rest;
  rest.from_latents = kept;
  rest.save_file = folder_ / "rest.png";
  const GenerationResult result = engine.generate(rest);
  EXPECT_EQ(result.seed, 1);
  rest.sample_steps = 9;
  expect_error(ErrorCode::kInvalidArgument, "`sample_steps`", [&] { engine.check(rest); });
}

TEST_F(EngineTest, ARunStoppedBeforeItsFirstStepSaysThatNothingIsLost) {
  GenerationRequest still = request();
  still.sample_steps = 4;
  still.frame_num = 1;
  still.save_file = folder_ / "still.png";
  const std::string kept = still.save_file.string() + ".latents.safetensors";
  std::atomic<bool> cancelled{false};
  const auto stop_in = [&](Phase phase) {
    return [&cancelled, phase](const Event& event) {
      const auto* started = std::get_if<PhaseStarted>(&event);
      cancelled = cancelled || (started != nullptr && started->phase == phase);
    };
  };
  for (const Phase phase : {Phase::kLoad, Phase::kText, Phase::kHighNoise}) {
    Engine engine({.ckpt_dir = kCheckpoint, .threads = 1});
    cancelled = false;
    expect_error(ErrorCode::kCancelled, "before the first step was done; nothing is lost, start again",
                 [&] { engine.generate(still, stop_in(phase), &cancelled); });
    EXPECT_FALSE(std::filesystem::exists(kept));
  }
  const auto stop_after_two = [&](const Event& event) {
    if (const auto* progress = std::get_if<PhaseProgress>(&event))
      cancelled = cancelled || progress->step == 2;
  };
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 1});
  cancelled = false;
  expect_error(ErrorCode::kCancelled, "2 of 4 steps",
               [&] { engine.generate(still, stop_after_two, &cancelled); });
  GenerationRequest rest;
  rest.from_latents = kept;
  rest.save_file = folder_ / "rest.png";
  for (const Phase phase : {Phase::kLoad, Phase::kText}) {
    Engine other({.ckpt_dir = kCheckpoint, .threads = 1});
    cancelled = false;
    expect_error(ErrorCode::kCancelled,
                 "the kept latents are still in " + kept + ": go on with `from_latents` " + kept,
                 [&] { other.generate(rest, stop_in(phase), &cancelled); });
  }
}

TEST_F(EngineTest, AListenerThatThrowsCostsNoStep) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  GenerationRequest still = request();
  still.sample_steps = 4;
  still.frame_num = 1;
  still.save_file = folder_ / "still.png";
  const std::string kept = still.save_file.string() + ".latents.safetensors";
  const auto fail_after_two = [](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress != nullptr && progress->step == 2) throw std::runtime_error("the listener is gone");
  };
  expect_error(ErrorCode::kInternal, "the listener is gone; 2 of 4 steps are kept in " + kept,
               [&] { engine.generate(still, fail_after_two); });
  const auto fail_in_decode = [](const Event& event) {
    const auto* phase = std::get_if<PhaseStarted>(&event);
    if (phase != nullptr && phase->phase == Phase::kDecode) throw std::runtime_error("the listener is gone");
  };
  const std::string second = still.save_file.string() + ".2.latents.safetensors";
  expect_error(ErrorCode::kInternal, "the listener is gone; the finished latents are kept in " + second,
               [&] { engine.generate(still, fail_in_decode); });
  EXPECT_TRUE(std::filesystem::exists(kept)) << "another run's";
  EXPECT_FALSE(std::filesystem::exists(still.save_file));
}

TEST_F(EngineTest, InspectNamesTheModelsAndTokenizeCounts) {
  const std::vector<InspectedModel> models = inspect(kCheckpoint);
  ASSERT_EQ(models.size(), 4u);
  for (const InspectedModel& model : models) EXPECT_EQ(model.findings, "") << model.path;
  const TokenizedText text = tokenize(kCheckpoint, "a  red&amp;blue circle");
  EXPECT_EQ(text.cleaned, "a red&blue circle");
  EXPECT_EQ(text.ids.back(), 1);
  EXPECT_FALSE(text.truncated);
}

}  // namespace
}  // namespace wan::test
