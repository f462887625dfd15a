// A rank that fails, runs out of memory or does not come, at every phase of a video: all ranks end soon, the first cause is named, what was
// reached is kept, and the next video is made.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "engine/engine_internals.h"
#include "engine/rank.h"
#include "kept/saved_latents.h"
#include "ops/every_op.h"
#include "support/golden_checkpoint.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTimeout{500};
constexpr std::chrono::seconds kSoon{20};

/// The CPU's kernels, where fault() is called before op number `at`, and before the first upload where `at` is kLoading.
class FaultyBackend final : public OverEveryOp<FaultyBackend, Backend> {
 public:
  static constexpr int kNever = -1;
  static constexpr int kLoading = -2;

  const char* name() const override { return "faulty"; }
  Device device() const override { return inner_->device(); }
  Allocator& allocator() override { return *memory_; }
  void synchronize() override {}
  std::int64_t free_bytes() const override { return inner_->free_bytes(); }
  void upload(const TensorView& host, const TensorView& device) override { inner_->upload(host, device); }
  void download(const TensorView& device, const TensorView& host) override { inner_->download(device, host); }

  template <typename Args>
  bool supports_op(const Args& args) const {
    return inner_->supports(args);
  }
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    if (ops_++ == at_) fault_();
    inner_->run(ctx, args);
  }
  template <typename Args>
  void take_scratch_op(Workspace& workspace, const Args& args) {
    inner_->take_scratch(workspace, args);
  }

  void arm(int at, std::function<void()> fault) {
    ops_ = 0;
    at_ = at;
    fault_ = std::move(fault);
  }
  int ops() const { return ops_; }

 private:
  /// Memory of weights is the first that a run takes.
  class Memory final : public Allocator {
   public:
    explicit Memory(FaultyBackend& owner) : owner_(owner) {}
    Device device() const override { return cpu_allocator().device(); }
    std::byte* allocate(std::size_t bytes) override {
      if (owner_.at_ == kLoading) {
        owner_.at_ = kNever;
        owner_.fault_();
      }
      return cpu_allocator().allocate(bytes);
    }
    void release(std::byte* data, std::size_t bytes) noexcept override {
      cpu_allocator().release(data, bytes);
    }

   private:
    FaultyBackend& owner_;
  };

  std::unique_ptr<Backend> inner_ = make_cpu_backend({.threads = 1});
  std::unique_ptr<Memory> memory_ = std::make_unique<Memory>(*this);
  int ops_ = 0;
  int at_ = kNever;
  std::function<void()> fault_;
};

class RankFaults : public testing::Test {
 protected:
  static constexpr int kRanks = 2;
  static constexpr int kSteps = 3;

  RankFaults() {
    std::vector<std::unique_ptr<Backend>> backends;
    for (FaultyBackend*& backend : backends_) {
      auto made = std::make_unique<FaultyBackend>();
      backend = made.get();
      backends.push_back(std::move(made));
    }
    engine_.emplace(make_engine(
        {.ckpt_dir = kCheckpoint, .guidance_parallel = "off", .rank_timeout = kTimeout, .keep_models = false},
        std::move(backends)));
    request_.prompt = "a red circle";
    request_.negative_prompt = "blue";
    request_.size = VideoSize{64, 64};
    request_.frame_num = 5;
    request_.sample_steps = kSteps;
    request_.seed = 1;
    request_.save_file = folder_ / "frame_%05d.png";
    request_.save_latents = folder_ / "kept.safetensors";
  }

  /// What the engine throws, if it throws; the last whole step in `steps_`.
  std::optional<Error> make() {
    steps_ = 0;
    std::filesystem::remove(request_.save_latents);
    const auto start = Clock::now();
    std::optional<Error> thrown;
    try {
      engine_->generate(request_, [this](const Event& event) {
        if (const auto* progress = std::get_if<PhaseProgress>(&event);
            progress != nullptr && progress->step > 0)
          steps_ = progress->step;
      });
    } catch (const Error& error) {
      thrown = error;
    }
    EXPECT_LT(Clock::now() - start, kSoon);
    return thrown;
  }

  /// Of `rank`, in a whole run: load, then ops spread over text, steps and frames.
  std::vector<int> places(int rank) {
    backends_[rank]->arm(FaultyBackend::kNever, {});
    EXPECT_FALSE(make());
    const int ops = backends_[rank]->ops();
    return {FaultyBackend::kLoading, 0, ops / 4, ops / 2, 3 * ops / 4, ops - 1};
  }

  void expect_kept(const Error& thrown) const {
    if (steps_ == 0) return;
    EXPECT_NE(std::string(thrown.what()).find(" kept in "), std::string::npos) << thrown.what();
    ASSERT_TRUE(std::filesystem::exists(request_.save_latents)) << steps_ << " steps were done";
    const SavedLatents kept = load_latents(request_.save_latents);
    EXPECT_GE(kept.next_step, steps_);
  }

  TempFolder folder_;
  std::array<FaultyBackend*, kRanks> backends_{};
  std::optional<Engine> engine_;
  GenerationRequest request_;
  int steps_ = 0;
};

TEST_F(RankFaults, AFailureAnywhereEndsAllAndIsNamed) {
  for (int rank = 0; rank < kRanks; ++rank)
    for (const int place : places(rank))
      for (const ErrorCode code : {ErrorCode::kDevice, ErrorCode::kOutOfMemory}) {
        SCOPED_TRACE(fmt::format("rank {}, op {}, {}", rank, place, error_code_name(code)));
        backends_[rank]->arm(place, [code] { fail(code, "the first cause"); });
        const std::optional<Error> thrown = make();
        ASSERT_TRUE(thrown);
        EXPECT_EQ(thrown->code(), code) << thrown->what();
        EXPECT_NE(std::string(thrown->what()).find("the first cause"), std::string::npos) << thrown->what();
        EXPECT_EQ(std::string(thrown->what()).find("rank 1") != std::string::npos, rank > 0)
            << thrown->what();
        expect_kept(*thrown);
        backends_[rank]->arm(FaultyBackend::kNever, {});
        const std::optional<Error> next = make();
        EXPECT_FALSE(next) << next->what();
      }
}

TEST_F(RankFaults, ARankThatStallsIsWaitedForNoLongerThanTold) {
  for (int rank = 0; rank < kRanks; ++rank) {
    const std::vector<int> all = places(rank);
    for (const int place : all) {
      SCOPED_TRACE(fmt::format("rank {}, op {}", rank, place));
      bool stalled = false;
      backends_[rank]->arm(place, [&] {
        stalled = true;
        std::this_thread::sleep_for(2 * kTimeout);
      });
      const std::optional<Error> thrown = make();
      EXPECT_TRUE(stalled);
      // Nobody waits for a rank that loads; behind its last op may be no exchange.
      if (place == FaultyBackend::kLoading) {
        EXPECT_FALSE(thrown);
      } else if (place != all.back()) {
        EXPECT_TRUE(thrown);
      }

      if (!thrown) continue;
      EXPECT_EQ(thrown->code(), ErrorCode::kDevice);
      EXPECT_NE(std::string(thrown->what()).find("did not come to an exchange within 0.5 s"),
                std::string::npos)
          << thrown->what();
      expect_kept(*thrown);
    }
  }
}

TEST(RankFaultsDeath, WhatDoesNotEndEndsWithTheProcess) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  std::vector<std::unique_ptr<Rank>> ranks;
  for (int i = 0; i < 2; ++i)
    ranks.push_back(
        std::make_unique<Rank>(ChosenBackend{.backend = make_cpu_backend({.threads = 1})}, nullptr));
  const auto stuck = [](int rank) {
    if (rank == 0) fail(ErrorCode::kOutOfMemory, "the first cause");
    while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
  };
  EXPECT_EXIT(on_every_rank(ranks, stuck, std::chrono::milliseconds(200)),
              testing::ExitedWithCode(exit_status(ErrorCode::kOutOfMemory)), "the first cause");
}

}  // namespace
}  // namespace wan::test
