// Memory plans against what runs take: every task, every residency, on the CPU and on a device of its own memory.

#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <cstring>

#include "backends/cpu/cpu_backend.h"
#include "engine/absent_gpu.h"
#include "engine/engine_internals.h"
#include "media/safetensors_writer.h"
#include "support/fenced_backend.h"
#include "support/file_bytes.h"
#include "support/plain_backend.h"
#include "support/temp_folder.h"
#include "tasks/task_table.h"
#include "tensor/allocation_count.h"
#include "wan/tools.h"
#include "weights/checkpoint.h"

namespace wan::test {
namespace {

const std::filesystem::path kSource = WAN_SOURCE_DIR;
const std::filesystem::path kGolden = std::filesystem::path(WAN_GOLDEN_DIR) / "pipeline";

struct Case {
  const char* name;
  const char* task;
  std::filesystem::path checkpoint;
  std::filesystem::path image;
  VideoSize size;
  int frames;
  const char* packed = "";  // what the checkpoint is converted into first; then the run has a LoRA too
};

const Case kCases[] = {
    {"demo", "t2v-A14B", kSource / "models/demo", "", {64, 64}, 5},
    {"demo_still", "t2v-A14B", kSource / "models/demo", "", {128, 128}, 1},
    {"demo_i2v",
     "i2v-A14B",
     kSource / "models/demo-i2v",
     kSource / "models/demo-i2v/red_circle.png",
     {64, 64},
     5},
    {"demo_q8_0_with_a_lora", "t2v-A14B", kSource / "models/demo", "", {64, 64}, 5, "q8_0"},
    {"t2v", "t2v-A14B", kGolden / "checkpoint", "", {64, 64}, 9},
    {"i2v", "i2v-A14B", kGolden / "checkpoint_i2v", kGolden / "portrait.png", {64, 64}, 9},
    {"ti2v", "ti2v-5B", kGolden / "checkpoint_ti2v", "", {64, 64}, 9},
    {"ti2v_image", "ti2v-5B", kGolden / "checkpoint_ti2v", kGolden / "landscape.png", {64, 64}, 9},
};

class MemoryPlanTest : public testing::TestWithParam<Case> {
 protected:
  MemoryPlanTest() {
    if (!is_packed()) return;
    convert({.ckpt_dir = checkpoint_, .target = folder_ / "packed", .format = GetParam().packed}, {});
    loras_.push_back({write_lora(checkpoint_ / "high_noise_model")});
    checkpoint_ = folder_ / "packed";
  }
  static bool is_packed() { return *GetParam().packed != '\0'; }
  /// A pair for each of the blocks' matrices, of a third of their rank: large enough to be missed in a plan.
  std::filesystem::path write_lora(const std::filesystem::path& transformer) const {
    constexpr std::int64_t kRank = 64;
    const Checkpoint model = Checkpoint::open(transformer);
    std::vector<SafetensorsEntry> entries;
    const std::vector<float> values(kRank * 4096, 0.01f);
    for (const TensorEntry& entry : model.entries()) {
      if (!entry.name.starts_with("blocks.") || !entry.name.ends_with(".weight") || entry.shape.rank() != 2)
        continue;
      const std::string module = entry.name.substr(0, entry.name.rfind('.'));
      const auto add = [&](const char* suffix, std::int64_t rows, std::int64_t columns) {
        entries.push_back({module + suffix,
                           {rows, columns},
                           std::span(values).first(static_cast<std::size_t>(rows * columns))});
      };
      add(".lora_A.weight", kRank, entry.shape[1]);
      add(".lora_B.weight", entry.shape[0], kRank);
    }
    write_safetensors(folder_ / "lora.safetensors", entries, {});
    return folder_ / "lora.safetensors";
  }
  GenerationRequest request() const {
    const Case& tried = GetParam();
    GenerationRequest request;
    request.task = tried.task;
    request.prompt = "a red circle moves right";
    request.negative_prompt = "blurry";
    request.image = tried.image;
    request.rng = "torch-cpu";
    request.size = tried.size;
    request.frame_num = tried.frames;
    request.sample_steps = 3;
    request.seed = 1;
    request.save_file = folder_ / "frame_%05d.png";
    return request;
  }
  static std::unique_ptr<Backend> make(bool device) {
    std::unique_ptr<Backend> cpu = make_cpu_backend({.threads = 2});
    if (!device) return cpu;
    auto fenced = std::make_unique<FencedBackend>(std::move(cpu));
    fenced->leave_open();
    return fenced;
  }
  /// Plans and makes a video; the plan's peak is within 1% of what the backend gave out.
  MemoryPlan expect_peak(bool device, const std::string& precision, const std::string& residency,
                         std::int64_t memory_limit = 0) const {
    const EngineOptions options{.ckpt_dir = checkpoint_,
                                .lora = loras_,
                                .precision = precision,
                                .vae_precision = precision,
                                .residency = residency,
                                .keep_models = false,
                                .memory_limit = memory_limit,
                                .threads = 2};
    std::unique_ptr<Backend> backend = make(device);
    const Backend& seen = *backend;
    Engine engine = make_engine(options, std::move(backend));
    MemoryPlan plan = engine.plan(request());
    engine.generate(request());
    EXPECT_EQ(plan.loras > 0, is_packed());
    const auto planned = static_cast<double>(plan.peak - plan.program);
    const auto taken = static_cast<double>(seen.memory_use().peak);
    EXPECT_NEAR(planned / taken, 1.0, 0.01)
        << (device ? "device, " : "cpu, ") << options.precision << ", " << options.residency << ", "
        << plan.block_places << " places: " << to_string(plan);
    return plan;
  }
  TempFolder folder_;
  std::filesystem::path checkpoint_ = GetParam().checkpoint;
  std::vector<LoraFile> loras_;
};

TEST_P(MemoryPlanTest, IsWhatARunTakes) {
  for (const bool device : {false, true}) {
    const MemoryPlan all = expect_peak(device, "fp32", "resident");
    const MemoryPlan two = expect_peak(device, "fp32", "streamed");
    EXPECT_LE(two.peak, all.peak);
    if (two.peak < all.peak) expect_peak(device, "fp32", "auto", (all.peak + two.peak) / 2);
    expect_peak(device, "bf16", "resident");
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, MemoryPlanTest, testing::ValuesIn(kCases),
                         [](const auto& tried) { return tried.param.name; });

TEST(MemoryPlanOfThePublishedModels, TakesTheFeedForwardInPiecesWhereNothingElseFits) {
  const auto backend = make_cpu_backend({.threads = 2});
  // Its feed-forward is wider than queries, keys and values, in whose memory it goes.
  const auto planned = [&](std::int64_t megabytes) {
    return plan_run({.models = official_shapes(find_task("ti2v-5B"), {}),
                     .backend = *backend,
                     .latent = {48, 31, 44, 80},
                     .weights = DType::kF32,
                     .encodes = std::nullopt,
                     .residency = "streamed",
                     .memory_limit = megabytes * 1'000'000,
                     .keep_models = false});
  };
  const auto fits_whole = [&](std::int64_t megabytes) {
    try {
      return planned(megabytes).load.feed_forward_pieces == 1;
    } catch (const Error&) {
      return false;
    }
  };
  std::int64_t too_little = 2000, enough = 20000;
  while (enough - too_little > 50) {
    const std::int64_t between = (too_little + enough) / 2;
    (fits_whole(between) ? enough : too_little) = between;
  }
  const PlannedRun wide = planned(enough);
  EXPECT_EQ(wide.load.feed_forward_pieces, 1);
  const PlannedRun tight = planned(too_little);
  EXPECT_GT(tight.load.feed_forward_pieces, 1);
  EXPECT_EQ(tight.plan.feed_forward_pieces, tight.load.feed_forward_pieces);
  EXPECT_LE(tight.plan.peak, too_little * 1'000'000);
  EXPECT_GT(wide.plan.activations, tight.plan.activations + 500'000'000);
  EXPECT_THROW(planned(2000), Error);
}

/// Matrices of each block in Q4_K, of some in Q6_K, as Q4_K_M files have them.
PackedWeights in_q4_k_m(const BlockLayout& layout, std::int64_t count) {
  std::vector<PackedWeight> block;
  for (const WeightSpec& spec : layout.weights) {
    PackedWeight weight;
    if (spec.shape.rank() == 2 && spec.dtype == WeightDType::kCompute)
      weight.dtype = spec.name.ends_with(".v.weight") || spec.name.ends_with("ffn.2.weight") ? DType::kQ6_K
                                                                                             : DType::kQ4_K;
    block.push_back(weight);
  }
  return PackedWeights(static_cast<std::size_t>(count), block);
}

TEST(MemoryPlanOfTheA14BModelsInQ4KM, KeepsBothExpertsOnACardOf24GB) {
  ModelShapes models = official_shapes(find_task("t2v-A14B"), {});
  // In bf16, as most have it.
  const auto text_blocks = static_cast<std::int64_t>(block_bytes(models.text_encoder_layout(), DType::kBF16) *
                                                     static_cast<std::size_t>(24));
  for (std::size_t i = 0; i < models.transformers.size(); ++i)
    models.packed_transformers.push_back(in_q4_k_m(models.transformer_layout(i), 40));
  const auto planned = [&](const char* residency, std::int64_t mebibytes) {
    const auto gpu = make_absent_gpu(mebibytes << 20);
    return plan_run({.models = models,
                     .backend = *gpu,
                     .latent = {16, 21, 60, 104},
                     .weights = DType::kBF16,
                     .encodes = std::nullopt,
                     .residency = residency,
                     .memory_limit = 0,
                     .keep_models = false,
                     .text_tokens = {30, 126}})
        .plan;
  };
  const MemoryPlan all = planned("auto", 80 << 10);
  EXPECT_TRUE(all.blocks_resident);
  EXPECT_EQ(all.text_encoder_places, 0);
  EXPECT_GT(all.text_encoder, text_blocks);
  for (const char* residency : {"resident", "auto"}) {
    const MemoryPlan plan = planned(residency, 24564);  // of an RTX 4090
    EXPECT_TRUE(plan.blocks_resident) << to_string(plan);
    EXPECT_EQ(plan.text_encoder_places, 2);
    EXPECT_LT(plan.text_encoder, text_blocks / 10);
    EXPECT_EQ(plan.transformers, all.transformers);
    EXPECT_EQ(plan.vae_tile, 0);
    EXPECT_LE(plan.peak, plan.available);
  }
}

/// A host with so much memory that this process alone uses.
class SmallMachine final : public PlainBackend {
 public:
  SmallMachine(std::int64_t bytes, DeviceKind kind) : bytes_(bytes), memory_(kind) {}

  const char* name() const override { return "small"; }
  Device device() const override { return memory_.device(); }
  Allocator& allocator() override { return memory_; }
  void synchronize() override {}
  void upload(const TensorView& host, const TensorView& device) override {
    if (host.bytes() > 0) std::memcpy(device.data(), host.data(), host.bytes());
  }
  void download(const TensorView& device, const TensorView& host) override { upload(device, host); }
  MemoryUse memory_use() const override { return {memory_.count.now(), memory_.count.peak()}; }
  std::int64_t free_bytes() const override { return bytes_ - memory_.count.now(); }

 private:
  struct Memory final : Allocator {
    explicit Memory(DeviceKind device_kind) : kind(device_kind) {}
    Device device() const override { return {kind, 0}; }
    std::byte* allocate(std::size_t bytes) override {
      count.add(bytes);
      return cpu_allocator().allocate(bytes);
    }
    void release(std::byte* data, std::size_t bytes) noexcept override {
      if (data != nullptr) count.remove(bytes);
      cpu_allocator().release(data, bytes);
    }
    DeviceKind kind;
    AllocationCount count;
  };
  std::int64_t bytes_;
  Memory memory_;
};

GenerationRequest small_request() {
  GenerationRequest request;
  request.prompt = "a red circle";
  request.rng = "torch-cpu";
  request.size = VideoSize{32, 32};
  request.frame_num = 1;
  request.sample_steps = 2;
  request.seed = 1;
  return request;
}

TEST(MemoryPlanOfASecondRun, IsTheFirstRunsWhereModelsStay) {
  TempFolder folder;
  GenerationRequest request = small_request();
  request.save_file = folder / "frame_%05d.png";
  const EngineOptions options{.ckpt_dir = kGolden / "checkpoint", .precision = "fp32"};
  const auto engine_with = [&](std::int64_t bytes) {
    return make_engine(options, std::make_unique<SmallMachine>(bytes, DeviceKind::kCpu));
  };
  const MemoryPlan plenty = engine_with(std::int64_t{1} << 32).plan(request);
  // Just enough for all blocks.
  Engine engine = engine_with(plenty.peak - plenty.program);
  int loads = 0;
  const auto count_loads = [&](const Event& event) {
    const auto* phase = std::get_if<PhaseStarted>(&event);
    loads += phase != nullptr && phase->phase == Phase::kLoad ? 1 : 0;
  };
  const MemoryPlan first = engine.plan(request);
  EXPECT_TRUE(first.blocks_resident);
  engine.generate(request, count_loads);
  EXPECT_EQ(to_json(engine.plan(request)), to_json(first));
  engine.generate(request, count_loads);
  EXPECT_EQ(loads, 1);
}

TEST(MemoryPlanOfASecondRun, StreamsTheTextEncoderAgainWhereTheTransformersStay) {
  TempFolder folder;
  GenerationRequest request = small_request();
  const EngineOptions options{.ckpt_dir = kSource / "models/demo", .precision = "fp32"};
  const auto make_twice = [&](std::int64_t bytes, const char* name) {
    Engine engine = make_engine(options, std::make_unique<SmallMachine>(bytes, DeviceKind::kCpu));
    int loads = 0;
    for (const int time : {1, 2}) {
      request.save_file = folder / (name + std::to_string(time) + ".png");
      engine.generate(request, [&](const Event& event) {
        const auto* phase = std::get_if<PhaseStarted>(&event);
        loads += phase != nullptr && phase->phase == Phase::kLoad ? 1 : 0;
      });
    }
    EXPECT_EQ(loads, 1);
    return engine.plan(request);
  };
  const MemoryPlan all = make_twice(std::int64_t{1} << 32, "all");
  EXPECT_EQ(all.text_encoder_places, 0);
  const MemoryPlan places = make_twice(all.peak - all.program - 1, "places");
  EXPECT_TRUE(places.blocks_resident);
  EXPECT_EQ(places.text_encoder_places, 2);
  EXPECT_NE(to_string(places).find("blocks streamed through 2 places"), std::string::npos);
  for (const char* name : {"all2.png", "places1.png", "places2.png"})
    EXPECT_EQ(bytes_of(folder / name), bytes_of(folder / "all1.png")) << name;
}

}  // namespace
}  // namespace wan::test
