// A run of several segments: what they share, what one carries to the next, and going on after it was killed.

#include "pipeline/run.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "backends/cpu/cpu_backend.h"
#include "engine/loaded_models.h"
#include "pipeline/input_images.h"
#include "support/expect_error.h"
#include "support/golden_checkpoint.h"
#include "support/plain_backend.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

constexpr int kSegments = 3;
constexpr int kSteps = 3;
constexpr std::int64_t kFrames = 5;   // of a segment: two latent frames
constexpr std::int64_t kCarried = 1;  // given to the next segment, which does not show it again

GenerationSettings run_settings() {
  GenerationSettings s;
  s.task = "t2v-A14B";
  s.prompt = "a red circle";
  s.negative_prompt = "blue";
  s.seed = 3;
  s.size = {64, 64};
  s.frame_num = static_cast<int>(kFrames + (kSegments - 1) * (kFrames - kCarried));
  s.fps = 16;
  s.steps = kSteps;
  s.shift = 5;
  s.guide_scale = {3, 4};
  s.boundary = 0.875;
  s.model = "golden";
  s.precision = "fp32";
  return s;
}

/// The CPU's memory, full of values that are not finite: what is kept must have been written.
class PoisonedMemory final : public Allocator {
 public:
  Device device() const override { return cpu_allocator().device(); }
  std::byte* allocate(std::size_t bytes) override {
    std::byte* const data = cpu_allocator().allocate(bytes);
    std::fill_n(data, bytes, std::byte{0xff});
    return data;
  }
  void release(std::byte* data, std::size_t bytes) noexcept override { cpu_allocator().release(data, bytes); }
};

class RunTest : public testing::Test {
 protected:
  /// Makes the video `name`_%05d.png; every segment but the first begins with the last frame of the one before.
  void make(const std::string& name, const SavedLatents* resumed = nullptr, const EventHandler& on_event = {},
            const std::atomic<bool>* cancelled = nullptr) {
    Workspace workspace(backend_->allocator());
    SelfCommunicator alone;
    ExecContext exec{
        .backend = *backend_, .workspace = workspace, .communicator = alone, .cancelled = cancelled};
    const RunContext context{.exec = exec,
                             .text_exec = exec,
                             .transformer_exec = exec,
                             .settings = settings_,
                             .on_event = on_event,
                             .cancelled = cancelled};
    LatentsFile kept{.path = folder_ / (name + ".safetensors"), .requested = true};
    if (latents_) kept = *latents_;
    wan::Run run(context, loaded_.pipeline(),
                 {.latent = latent_,
                  .segments = kSegments,
                  .decode = loaded_.pipeline().vae.plan_decode({2, 8, 8}, 0),
                  .encode = loaded_.pipeline().vae.plan_encode({1, 8, 8}, 0),
                  .output = {folder_ / (name + "_%05d.png"), kept},
                  .resumed = resumed,
                  .keep = keep_});
    Tensor carried;
    for (int i = 0; i < kSegments; ++i) {
      EXPECT_EQ(run.segment(), i);
      SegmentInput segment;
      if (i > 0) segment.condition = run.condition([&] { return encode(context, run, carried); });
      if (!segment.condition.empty()) segment.given_frames = segment.condition;
      const TensorView latents = run.denoise(std::move(segment));
      carried = run.decode(latents, {.skip = i == 0 ? 0 : kCarried, .carry = kCarried});
    }
    run.finish();
  }

  Tensor encode(const RunContext& context, const wan::Run& run, const Tensor& frames) {
    ++encoded_;
    Tensor condition(backend_->allocator(), DType::kF32, {latent_[0], 1, latent_[2], latent_[3]});
    encode_clip(
        context, run.models().vae, run.encode_plan(),
        [&](std::int64_t, std::span<float> pixels) {
          std::copy_n(frames.as<float>(), pixels.size(), pixels.begin());
        },
        condition);
    return condition;
  }

  std::string frames_of(const std::string& name) const {
    std::string all;
    for (int frame = 0; frame < settings_.frame_num; ++frame) {
      std::ifstream stream(folder_ / fmt::format("{}_{:05}.png", name, frame), std::ios::binary);
      EXPECT_TRUE(stream) << name << " " << frame;
      all.append(std::istreambuf_iterator<char>(stream), {});
    }
    return all;
  }

  const TempFolder folder_;
  GenerationSettings settings_ = run_settings();
  KeepInterval keep_;
  std::optional<LatentsFile> latents_;  // in place of the one beside the video
  const Shape latent_{16, 2, 8, 8};
  const std::unique_ptr<Backend> backend_ = make_cpu_backend({.threads = 2});
  const CheckpointModels models_{kCheckpoint};
  const LoadedModels loaded_{models_,
                             *backend_,
                             *backend_,
                             {.weights = DType::kF32, .residency = {}, .text_encoder_host = {}},
                             make_shares(models_, {}),
                             {}};
  int encoded_ = 0;
};

/// Stops the run when the given step of the given segment is done.
struct StopAfter {
  int segment;
  int step;
  std::atomic<bool> cancelled{false};
  int texts = 0;
  int segments_done = 0;

  void operator()(const Event& event) {
    if (const auto* begun = std::get_if<PhaseStarted>(&event)) texts += begun->phase == Phase::kText ? 1 : 0;
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress == nullptr || progress->step == 0) return;
    if (segments_done == segment && progress->step == step) cancelled = true;
    if (progress->step == progress->steps) ++segments_done;
  }
};

TEST_F(RunTest, KilledInAnySegmentItGoesOnThere) {
  StopAfter never{.segment = -1, .step = 0};
  make("whole", nullptr, std::ref(never));
  EXPECT_EQ(never.texts, 1) << "text belongs to the run";
  EXPECT_EQ(encoded_, kSegments - 1);
  const std::string whole = frames_of("whole");
  const SavedLatents finished = load_latents(folder_ / "whole.safetensors");
  EXPECT_TRUE(finished.finished());
  EXPECT_EQ(finished.segment, kSegments - 1);

  for (int segment = 0; segment < kSegments; ++segment) {
    for (const int step : {1, kSteps}) {
      SCOPED_TRACE(fmt::format("segment {} step {}", segment, step));
      const std::string name = fmt::format("killed_{}_{}", segment, step);
      StopAfter stop{.segment = segment, .step = step};
      expect_error(ErrorCode::kCancelled, "`from_latents`",
                   [&] { make(name, nullptr, std::ref(stop), &stop.cancelled); });
      const SavedLatents kept = load_latents(folder_ / (name + ".safetensors"));
      EXPECT_EQ(kept.segment, segment);
      EXPECT_EQ(kept.next_step, step);
      EXPECT_EQ(kept.done.size(), static_cast<std::size_t>(segment));
      encoded_ = 0;
      StopAfter watch{.segment = -1, .step = 0};
      make(name, &kept, std::ref(watch));
      EXPECT_EQ(encoded_, kSegments - 1 - segment) << "what the kept segment was made from is kept";
      EXPECT_EQ(watch.segments_done, kSegments - segment - (step == kSteps ? 1 : 0))
          << "finished segments are not denoised again";
      EXPECT_TRUE(frames_of(name) == whole);
    }
  }
  expect_error(ErrorCode::kInternal, "the screen is gone; the finished latents are kept", [&] {
    make("deaf", nullptr, [](const Event& event) {
      if (const auto* begun = std::get_if<PhaseStarted>(&event); begun && begun->phase == Phase::kImage)
        throw std::runtime_error("the screen is gone");
    });
  });
}

TEST_F(RunTest, KilledWithoutNoticeItGoesOnFromEitherState) {
  settings_.steps = 5;
  make("whole");
  const std::string whole = frames_of("whole");
  std::chrono::steady_clock::time_point now;
  keep_ = {.every = std::chrono::seconds(1), .clock = [&now] { return now; }};
  const std::filesystem::path newest = folder_ / "killed.safetensors";
  const std::filesystem::path earlier = folder_ / "killed.earlier.safetensors";
  int segment = 0;
  make("killed", nullptr, [&](const Event& event) {
    const auto* begun = std::get_if<PhaseStarted>(&event);
    if (begun != nullptr && begun->phase == Phase::kDecode) {
      EXPECT_FALSE(std::filesystem::exists(earlier)) << "finished latents are worth more";
    }
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress == nullptr || progress->step == 0) return;
    now += std::chrono::seconds(2);
    if (segment == 1 && progress->step == 4) {  // what a SIGKILL would leave
      std::filesystem::copy_file(newest, folder_ / "newest.safetensors");
      std::filesystem::copy_file(earlier, folder_ / "before.safetensors");
    }
    if (progress->step == progress->steps) ++segment;
  });
  EXPECT_TRUE(frames_of("killed") == whole);
  EXPECT_FALSE(std::filesystem::exists(earlier)) << "the video is whole";
  for (const auto& [name, step] : {std::pair("newest", 4), std::pair("before", 3)}) {
    SCOPED_TRACE(name);
    const SavedLatents kept = load_latents(folder_ / fmt::format("{}.safetensors", name));
    EXPECT_EQ(kept.segment, 1);
    EXPECT_EQ(kept.next_step, step);
    make("resumed", &kept);
    EXPECT_TRUE(frames_of("resumed") == whole);
  }
}

TEST_F(RunTest, AStateGoesWithAWholeVideoWhereItsLatentsCouldNotBeKept) {
  const std::filesystem::path state = folder_ / "state.safetensors";
  latents_ = {.path = folder_ / "nowhere/finished.safetensors", .unfinished = state};
  keep_ = {.every = std::chrono::hours(1), .clock = [] { return std::chrono::steady_clock::time_point(); }};
  const char* const before = std::getenv("TMPDIR");
  const std::string temporary = before == nullptr ? "/tmp" : before;
  ::setenv("TMPDIR", (folder_ / "nowhere").c_str(), 1);
  bool was_kept = false;
  make("video", nullptr, [&](const Event& event) {
    const auto* begun = std::get_if<PhaseStarted>(&event);
    was_kept |= begun != nullptr && begun->phase == Phase::kEncode && std::filesystem::exists(state);
  });
  ::setenv("TMPDIR", temporary.c_str(), 1);
  EXPECT_TRUE(was_kept);
  EXPECT_FALSE(std::filesystem::exists(state));
}

TEST_F(RunTest, TheStateIsKeptWhereOneExpertFollowsAnother) {
  settings_.steps = 5;
  keep_ = {.every = std::chrono::hours(1), .clock = [] { return std::chrono::steady_clock::time_point(); }};
  const std::filesystem::path state = folder_ / "video.safetensors";
  int high = 0;  // steps of the first segment's first expert
  int kept_after = 0;
  int segment = 0;
  make("video", nullptr, [&](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress == nullptr || progress->step == 0) return;
    if (segment == 0 && progress->phase == Phase::kHighNoise) high = progress->step;
    if (segment == 0 && kept_after == 0 && std::filesystem::exists(state)) {
      kept_after = progress->step;
      EXPECT_EQ(load_latents(state).next_step, progress->step);
    }
    if (progress->step == progress->steps) ++segment;
  });
  EXPECT_GT(high, 0);
  EXPECT_EQ(kept_after, high);
}

TEST(DenoiseState, OfAFreshRunHasNoGarbageToKeep) {
  class Poisoned final : public PlainBackend {
   public:
    Allocator& allocator() override { return memory_; }

   private:
    PoisonedMemory memory_;
  };
  Poisoned backend;
  Workspace workspace(backend.allocator());
  SelfCommunicator alone;
  ExecContext exec{.backend = backend, .workspace = workspace, .communicator = alone};
  const DenoiseState state =
      make_denoise_state(exec, make_scheduler(SolverKind::kUniPC, 3, 5), Shape{16, 2, 4, 4});
  ASSERT_GT(state.slots.size(), 2u);
  for (const Tensor& slot : state.slots)
    for (std::int64_t i = 0; i < slot.elements(); ++i) ASSERT_EQ(slot.as<float>()[i], 0.0f);
}

TEST_F(RunTest, EachSegmentBeginsWithTheOneBefore) {
  make("whole");
  const SavedLatents saved = load_latents(folder_ / "whole.safetensors");
  ASSERT_EQ(saved.done.size(), 2u);
  const auto differs = [](const TensorView& a, const TensorView& b) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.elements(); ++i) sum += std::abs(a.as<float>()[i] - b.as<float>()[i]);
    return sum / static_cast<double>(a.elements()) > 1e-3;
  };
  EXPECT_TRUE(differs(saved.done[0], saved.done[1]));
  EXPECT_TRUE(differs(saved.done[1], saved.slots[0]));
}

TEST_F(RunTest, SegmentsDrawFromOneStreamOfNoise) {
  for (const char* rng : {"torch-cpu", "torch-cuda:2x512"}) {
    SCOPED_TRACE(rng);
    GenerationSettings settings = settings_;
    settings.rng = parse_random_spec(rng);
    Workspace workspace(backend_->allocator());
    SelfCommunicator alone;
    ExecContext exec{.backend = *backend_, .workspace = workspace, .communicator = alone};
    const EventHandler nobody;
    const RunContext context{
        .exec = exec, .text_exec = exec, .transformer_exec = exec, .settings = settings, .on_event = nobody};
    const Tensor first(DType::kF32, latent_);
    const Tensor second(DType::kF32, latent_);
    NoiseSource noise(context);
    noise.draw(first);
    noise.draw(second);
    const auto generator = make_random_generator(settings.rng, settings.seed);
    std::vector<float> expected(static_cast<std::size_t>(latent_.elements()));
    for (const Tensor* drawn : {&first, &second}) {
      generator->normal(expected);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), drawn->as<float>()));
    }
    NoiseSource later(context);
    later.skip(latent_);
    const Tensor again(DType::kF32, latent_);
    later.draw(again);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), again.as<float>()));
  }
}

}  // namespace
}  // namespace wan::test
