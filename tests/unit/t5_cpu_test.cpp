// The text encoder on the CPU beside a device: nothing of it reaches the device but the context vectors.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <mutex>

#include "backends/cpu/cpu_backend.h"
#include "engine/engine_internals.h"
#include "engine/loaded_models.h"
#include "engine/memory_plan.h"
#include "engine/residency_bytes.h"
#include "support/expect_error.h"
#include "support/fenced_backend.h"
#include "support/golden_checkpoint.h"
#include "support/temp_folder.h"
#include "wan/tools.h"

namespace wan::test {
namespace {

/// Larger: its blocks are most of what it takes.
const std::filesystem::path kDemo = std::filesystem::path(WAN_SOURCE_DIR) / "models/demo";

/// What a device was told to do.
struct DeviceWork {
  int ops = 0;
  int uploads = 0;
  std::int64_t uploaded_bytes = 0;
};
DeviceWork operator-(const DeviceWork& a, const DeviceWork& b) {
  return {a.ops - b.ops, a.uploads - b.uploads, a.uploaded_bytes - b.uploaded_bytes};
}

/// Counts what a fenced device is told. Blocks are uploaded on several threads, all before anything runs where they are
/// resident.
class CountedDevice : public OverEveryOp<CountedDevice, FencedBackend> {
 public:
  explicit CountedDevice(DeviceWork& work) : OverEveryOp(make_cpu_backend({.threads = 2})), work_(work) {}
  void upload(const TensorView& host, const TensorView& device) override {
    {
      const std::scoped_lock lock(mutex_);
      ++work_.uploads;
      work_.uploaded_bytes += static_cast<std::int64_t>(host.bytes());
    }
    FencedBackend::upload(host, device);
  }
  template <typename Args>
  bool supports_op(const Args& args) const {
    return FencedBackend::supports(args);
  }
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    ++work_.ops;
    FencedBackend::run(ctx, args);
  }

 private:
  DeviceWork& work_;
  std::mutex mutex_;
};

/// What a run did in its phases, and what it dumped.
struct Watched {
  DeviceWork load;
  DeviceWork text;
  std::map<std::string, std::string> dump;  // contents of every file by its name
};

std::map<std::string, std::string> files_below(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    files[entry.path().lexically_relative(folder)] = std::string(std::istreambuf_iterator<char>(stream), {});
  }
  return files;
}

/// The text encoder's weights, its token table apart, in f32.
struct EncoderWeights {
  int count = 0;
  std::int64_t bytes = 0;
};

EncoderWeights encoder_weights() {
  EncoderWeights weights;
  for (const InspectedModel& model : inspect(kCheckpoint)) {
    if (model.kind != "umT5 text encoder") continue;
    for (const InspectedTensor& tensor : model.tensors) {
      if (tensor.name == "token_embedding.weight") continue;
      std::int64_t bytes = 4;
      for (const std::int64_t extent : tensor.shape) bytes *= extent;
      weights.bytes += bytes;
      ++weights.count;
    }
  }
  return weights;
}

class T5CpuTest : public testing::Test {
 protected:
  GenerationRequest request() const {
    GenerationRequest request;
    request.prompt = "a red circle";
    request.negative_prompt = "blurry";
    request.rng = "torch-cpu";
    request.size = VideoSize{32, 32};
    request.frame_num = 1;
    request.sample_steps = 2;
    request.seed = 1;
    request.save_file = folder_ / "frame_%05d.png";
    return request;
  }
  static EngineOptions options(bool t5_cpu, const std::string& precision = "fp32") {
    return {.ckpt_dir = kCheckpoint, .precision = precision, .t5_cpu = t5_cpu, .threads = 2};
  }
  Watched generate(const EngineOptions& options) const {
    DeviceWork work;
    return generate(options, work, std::make_unique<CountedDevice>(work));
  }
  Watched generate(const EngineOptions& options, DeviceWork& work, std::unique_ptr<Backend> backend) const {
    GenerationRequest asked = request();
    asked.dump_dir = folder_ / "dump";
    asked.dump_taps = true;
    asked.check = true;
    Watched seen;
    DeviceWork before;
    const auto watch = [&](const Event& event) {
      if (std::holds_alternative<PhaseStarted>(event)) before = work;
      const auto* finished = std::get_if<PhaseFinished>(&event);
      if (finished == nullptr) return;
      if (finished->phase == Phase::kLoad) seen.load = work - before;
      if (finished->phase == Phase::kText) seen.text = work - before;
    };
    make_engine(options, std::move(backend)).generate(asked, watch);
    seen.dump = files_below(folder_ / "dump");
    return seen;
  }
  Watched generate_on_the_cpu(const std::string& precision = "fp32") const {
    DeviceWork none;
    return generate(options(false, precision), none, make_cpu_backend({.threads = 2}));
  }
  /// Of an engine on a device; the memory's limit does not change what there is on the host.
  MemoryPlan plan(bool t5_cpu, const std::string& residency = "auto", std::int64_t limit = 0,
                  bool keep_models = true) const {
    EngineOptions chosen = options(t5_cpu);
    chosen.ckpt_dir = kDemo;
    chosen.residency = residency;
    chosen.memory_limit = limit;
    chosen.keep_models = keep_models;
    DeviceWork work;
    return make_engine(chosen, std::make_unique<CountedDevice>(work)).plan(request());
  }
  TempFolder folder_;
};

/// The same files with the same bytes; names the first that differs.
void expect_same_files(const std::map<std::string, std::string>& actual,
                       const std::map<std::string, std::string>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, bytes] : expected) {
    const auto found = actual.find(name);
    ASSERT_NE(found, actual.end()) << name << " is missing";
    ASSERT_TRUE(found->second == bytes) << name << " differs";
  }
}

TEST_F(T5CpuTest, OnlyContextVectorsReachTheDevice) {
  const EncoderWeights encoder = encoder_weights();
  const Watched with = generate(options(true));
  const Watched without = generate(options(false));
  EXPECT_EQ(with.text.ops, 0);
  EXPECT_GT(without.text.ops, 0);
  EXPECT_EQ(with.text.uploads, 2) << "the prompt's and the negative prompt's context";
  EXPECT_EQ(without.load.uploads - with.load.uploads, encoder.count);
  EXPECT_EQ(without.load.uploaded_bytes - with.load.uploaded_bytes, encoder.bytes);

  // The device computes as the CPU does, so that all that is dumped, video included, is the same.
  for (const char* name : {"context_prompt.npy", "context_negative.npy", "tokens_prompt.npy", "latents.npy",
                           "taps/text_encoder.blocks.0.attn.0001.npy", "taps/text_encoder.norm.0000.npy"})
    EXPECT_TRUE(with.dump.contains(name)) << name;
  expect_same_files(with.dump, without.dump);
}

TEST_F(T5CpuTest, TheContextIsTheCpusToTheByteInItsUsualPrecision) {
  const auto contexts = [](Watched run) {
    std::erase_if(run.dump, [](const auto& file) {
      return !file.first.starts_with("context_") && !file.first.starts_with("taps/text_encoder.");
    });
    EXPECT_GT(run.dump.size(), 2u);
    return run.dump;
  };
  const auto fp32 = contexts(generate_on_the_cpu());
  const auto bf16 = contexts(generate_on_the_cpu("bf16"));
  EXPECT_NE(fp32.at("context_prompt.npy"), bf16.at("context_prompt.npy"));
  expect_same_files(contexts(generate(options(true, ""))), fp32);  // the transformers are in bf16
  expect_same_files(contexts(generate(options(true, "bf16"))), bf16);
}

TEST_F(T5CpuTest, StreamedBlocksAndKeptOnesGiveTheSame) {
  const Watched kept = generate(options(true));
  for (const char* residency : {"streamed", "resident"}) {
    EngineOptions chosen = options(true);
    chosen.keep_models = false;
    chosen.residency = residency;
    DeviceWork none;  // streamed blocks are uploaded by another thread, and are not counted
    expect_same_files(
        generate(chosen, none, std::make_unique<FencedBackend>(make_cpu_backend({.threads = 2}))).dump,
        kept.dump);
  }
}

TEST_F(T5CpuTest, OneEngineMakesSeveralVideosAndLoadsOnce) {
  DeviceWork work;
  Engine engine = make_engine(options(true), std::make_unique<CountedDevice>(work));
  int loads = 0;
  const auto count_loads = [&](const Event& event) {
    if (const auto* phase = std::get_if<PhaseStarted>(&event)) loads += phase->phase == Phase::kLoad ? 1 : 0;
  };
  std::map<std::string, std::string> first;
  for (int i = 0; i < 2; ++i) {
    GenerationRequest asked = request();
    asked.dump_dir = folder_ / "dump";
    engine.generate(asked, count_loads);
    if (i == 0) first = files_below(asked.dump_dir);
  }
  EXPECT_EQ(loads, 1);
  expect_same_files(files_below(folder_ / "dump"), first);
}

TEST_F(T5CpuTest, ARunThatIsStoppedInTheTextPhaseSaysThatNothingIsLost) {
  DeviceWork work;
  Engine engine = make_engine(options(true), std::make_unique<CountedDevice>(work));
  std::atomic<bool> cancelled{false};
  const auto stop = [&](const Event& event) {
    const auto* started = std::get_if<PhaseStarted>(&event);
    cancelled = cancelled || (started != nullptr && started->phase == Phase::kText);
  };
  expect_error(ErrorCode::kCancelled, "before the first step was done",
               [&] { engine.generate(request(), stop, &cancelled); });
}

TEST_F(T5CpuTest, ThePlanCountsNothingOfTheTextEncoderOnTheDevice) {
  for (const char* residency : {"resident", "streamed"}) {
    const MemoryPlan with = plan(true, residency);
    const MemoryPlan without = plan(false, residency);
    EXPECT_EQ(with.text_encoder, 0);
    EXPECT_GT(with.text_encoder_host, 0);
    EXPECT_GT(without.text_encoder, 0);
    EXPECT_EQ(without.text_encoder_host, 0);
    EXPECT_LT(with.peak, without.peak);
    EXPECT_NE(to_string(with).find("on the CPU"), std::string::npos);
    EXPECT_EQ(to_string(without).find("on the CPU"), std::string::npos);
    EXPECT_NE(to_json(with).find(R"("text_encoder":0,"text_encoder_host":)"), std::string::npos);
    EXPECT_NE(to_json(without).find(R"("text_encoder_host":0,)"), std::string::npos);
  }
  const MemoryPlan all = plan(true);
  EXPECT_LT(all.block_places, plan(false).block_places);
  // Room for the transformers alone is enough for all blocks to stay.
  EXPECT_TRUE(plan(true, "auto", all.peak).blocks_resident);
  EXPECT_FALSE(plan(false, "auto", all.peak).blocks_resident);
}

TEST_F(T5CpuTest, OnTheCpuNothingChanges) {
  const auto plan_on_cpu = [&](bool t5_cpu) {
    return make_engine(options(t5_cpu), make_cpu_backend({.threads = 2})).plan(request());
  };
  const MemoryPlan with = plan_on_cpu(true);
  const MemoryPlan without = plan_on_cpu(false);
  EXPECT_EQ(with.text_encoder, without.text_encoder);
  EXPECT_EQ(with.text_encoder_host, 0);
  EXPECT_EQ(with.peak, without.peak);
  EXPECT_EQ(with.block_places, without.block_places);
}

TEST_F(T5CpuTest, BlocksStayInTheHostsMemoryWhereTheyAreKeptAndHalfOfItIsEnough) {
  const CheckpointModels models(kCheckpoint);
  FencedBackend device(make_cpu_backend({.threads = 1}));
  const auto planned = [&](const char* residency, bool keep_models, std::int64_t available) {
    return plan_run({.models = models,
                     .backend = device,
                     .latent = {16, 2, 4, 4},
                     .weights = DType::kBF16,
                     .encodes = std::nullopt,
                     .residency = residency,
                     .memory_limit = 0,
                     .keep_models = keep_models,
                     .text_encoder_host = TextEncoderHost{.weights = DType::kF32, .available = available}});
  };
  const auto kind = [](const PlannedRun& run) { return run.load.text_encoder_host->residency.kind; };
  constexpr std::int64_t kPlenty = std::int64_t{1} << 32;
  const PlannedRun kept = planned("auto", true, kPlenty);
  const PlannedRun streamed = planned("auto", false, kPlenty);
  EXPECT_EQ(kind(kept), ResidencyKind::kResident);
  EXPECT_EQ(kind(streamed), ResidencyKind::kStreamed);
  EXPECT_EQ(streamed.load.text_encoder_host->residency.places, 2);
  EXPECT_FALSE(streamed.load.text_encoder_host->residency.keep);
  EXPECT_EQ(kind(planned("streamed", true, kPlenty)), ResidencyKind::kStreamed);
  EXPECT_EQ(kind(planned("resident", false, kPlenty)), ResidencyKind::kResident);
  EXPECT_EQ(kept.load.text_encoder_host->weights, DType::kF32) << "whatever the transformers' are";

  const auto blocks = static_cast<std::int64_t>(planned_residency_bytes(models, kept.load).text_encoder_host);
  EXPECT_GT(kept.plan.text_encoder_host, blocks);
  // Of these small models the scratch alone is more than that; what the refusal advises tells what was tried.
  const auto refusal = [&](const char* residency, std::int64_t available) -> std::string {
    try {
      planned(residency, true, available);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      return error.what();
    }
    return "";
  };
  const std::string advice = ", or choose `residency` streamed";
  EXPECT_TRUE(refusal("auto", 2 * blocks).ends_with("leave out `t5_cpu`" + advice));
  EXPECT_TRUE(refusal("auto", 2 * blocks - 1).ends_with("leave out `t5_cpu`"));
  EXPECT_TRUE(refusal("resident", 1).ends_with(advice));
}

}  // namespace
}  // namespace wan::test
