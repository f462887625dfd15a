// A VAE whose pictures are divided over ranks: frames and latents of one rank, whatever the sizes, and an end for all at once.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "models/video_vae/strip.h"
#include "ops/counting_backend.h"
#include "parallel/local/local_communicator.h"
#include "support/compare.h"
#include "support/vae_model.h"

namespace wan::test {
namespace {

// Sums of up to some thousand terms in another order: libraries go another way for another width of a picture. 1.7e-6 seen.
constexpr double kF32 = 3e-6;
// A value between two of bf16 goes either way. 1.6e-4 seen; 1.8e-3 where AMX multiplies, a quarter of bf16's last digit.
constexpr double kBf16 = 4e-3;

/// z_dim channels of noise.
Tensor random_latents(std::int64_t channels, const LatentExtent& extent) {
  Tensor latents(DType::kF32, {channels, extent.frames, extent.height, extent.width});
  std::mt19937 generator(11);
  std::normal_distribution<float> normal;
  std::generate_n(latents.as<float>(), latents.elements(), [&] { return normal(generator); });
  return latents;
}

/// A model for each rank, which work on threads of their own.
class RankModels {
 public:
  RankModels(const std::string& name, int ranks, Kernels kernels = Kernels::kCpu, DType compute = DType::kF32)
      : communicators_(make_local_communicators(ranks)) {
    for (const auto& communicator : communicators_)
      models_.push_back(std::make_unique<VaeModel>(name, kernels, VaePrecision{compute}, communicator.get()));
  }

  VaeModel& first() { return *models_.front(); }
  /// Each rank's failure; one that is not Cancelled ends the others' exchanges.
  std::vector<ErrorCode> run(const std::function<void(VaeModel&, int rank)>& work) {
    std::vector<ErrorCode> codes(models_.size(), kNone);
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < models_.size(); ++rank)
      threads.emplace_back([&, rank] {
        try {
          work(*models_[rank], static_cast<int>(rank));
        } catch (const Error& error) {
          codes[rank] = error.code();
          if (error.code() != ErrorCode::kCancelled) communicators_[rank]->abort(error);
        }
      });
    for (std::thread& thread : threads) thread.join();
    return codes;
  }
  std::vector<ErrorCode> all(ErrorCode code) const { return std::vector<ErrorCode>(models_.size(), code); }

  static constexpr auto kNone = static_cast<ErrorCode>(-1);

 private:
  std::vector<std::unique_ptr<Communicator>> communicators_;
  std::vector<std::unique_ptr<VaeModel>> models_;
};

struct Divided {
  const char* model;
  LatentExtent extent;
  int ranks;
  DType compute = DType::kF32;
};

std::string name_of(const Divided& c) {
  return fmt::format("{} {}x{}x{} on {}, {}", c.model, c.extent.frames, c.extent.height, c.extent.width,
                     c.ranks, dtype_name(c.compute));
}

const Divided kCases[] = {
    {"vae21/levels4", {3, 4, 7}, 2},                // columns, 4 and 3
    {"vae21/levels4", {2, 7, 5}, 3},                // rows, 3, 2 and 2
    {"vae21/levels4", {2, 3, 5}, 4},                // a column or two each
    {"vae21/levels3", {5, 4, 4}, 4},                // one each
    {"vae21/levels3", {1, 9, 2}, 2},                // a still
    {"vae22/levels4", {3, 2, 5}, 2},                //
    {"vae22/levels4", {2, 5, 3}, 3},                //
    {"vae22/levels3", {4, 4, 6}, 4},                //
    {"vae22/levels2", {2, 3, 7}, 3},                //
    {"vae21/levels4", {2, 4, 7}, 3, DType::kBF16},  //
    {"vae22/levels4", {2, 5, 3}, 2, DType::kBF16},
};

TEST(VaeRanks, DecodeTheFramesOfOne) {
  for (const Divided& c : kCases) {
    SCOPED_TRACE(name_of(c));
    VaeModel alone(c.model, Kernels::kCpu, {c.compute});
    const Tensor latents = random_latents(alone.vae().geometry().z_dim, c.extent);
    const Tensor expected = alone.decode(latents, alone.plan_decode(latents));
    RankModels ranks(c.model, c.ranks, Kernels::kCpu, c.compute);
    for (const VaePlan& plan : ranks.first().decode_plans(latents)) {
      Tensor frames;
      const auto codes = ranks.run([&](VaeModel& model, int rank) {
        Tensor decoded = model.decode(latents, plan);
        if (rank == 0) frames = std::move(decoded);
      });
      EXPECT_EQ(codes, ranks.all(RankModels::kNone));
      EXPECT_TRUE(all_close(frames, expected, c.compute == DType::kF32 ? kF32 : kBf16))
          << plan.frame_by_frame << plan.compact_history;
    }
  }
}

TEST(VaeRanks, EncodeTheLatentsOfOne) {
  for (const Divided& c : kCases) {
    SCOPED_TRACE(name_of(c));
    VaeModel alone(c.model, Kernels::kCpu, {c.compute});
    const VaeGeometry geometry = alone.vae().geometry();
    const Tensor latents = random_latents(geometry.z_dim, c.extent);
    const Tensor clip = alone.decode(latents, alone.plan_decode(latents));
    const Tensor expected = alone.encode(clip, clip.dim(0), alone.plan_encode(latents));
    RankModels ranks(c.model, c.ranks, Kernels::kCpu, c.compute);
    for (const VaePlan& plan : ranks.first().encode_plans(latents)) {
      const auto codes = ranks.run([&](VaeModel& model, int rank) {
        const Tensor encoded = model.encode(clip, clip.dim(0), plan);
        EXPECT_TRUE(all_close(encoded, expected, c.compute == DType::kF32 ? kF32 : kBf16))
            << "rank " << rank << ", " << plan.frame_by_frame << plan.compact_history;
      });
      EXPECT_EQ(codes, ranks.all(RankModels::kNone));
    }
  }
}

TEST(VaeRanks, TilesAreThoseOfOne) {
  for (const char* name : {"vae21/levels3", "vae22/levels2"}) {
    SCOPED_TRACE(name);
    VaeModel alone(name);
    const Tensor latents = random_latents(alone.vae().geometry().z_dim, {2, 9, 12});
    RankModels ranks(name, 2);
    VaePlan plan = alone.plan_decode(latents);
    plan.tile_height = 6;
    plan.tile_width = 8;
    plan.overlap_height = 2;
    plan.overlap_width = 3;
    const Tensor expected = alone.decode(latents, plan);
    const Tensor expected_latents = alone.encode(expected, expected.dim(0), plan);
    const auto codes = ranks.run([&](VaeModel& model, int rank) {
      const Tensor frames = model.decode(latents, plan);
      if (rank == 0) {
        EXPECT_TRUE(all_close(frames, expected, kF32));
      }
      EXPECT_TRUE(all_close(model.encode(expected, expected.dim(0), plan), expected_latents, kF32));
    });
    EXPECT_EQ(codes, ranks.all(RankModels::kNone));
  }
}

TEST(VaeRanks, MoreThanThereAreLatentsLeaveTheFirstAlone) {
  const LatentExtent extent{2, 2, 3};
  VaeModel alone("vae21/levels4");
  const Tensor latents = random_latents(alone.vae().geometry().z_dim, extent);
  const Tensor expected = alone.decode(latents, alone.plan_decode(latents));
  const Tensor expected_latents = alone.encode(expected, expected.dim(0), alone.plan_encode(latents));
  RankModels ranks("vae21/levels4", 4);
  const auto codes = ranks.run([&](VaeModel& model, int rank) {
    const Tensor frames = model.decode(latents, model.plan_decode(latents));
    if (rank == 0) {
      EXPECT_TRUE(all_close(frames, expected, 0.0));
    }
    EXPECT_TRUE(all_close(model.encode(expected, expected.dim(0), model.plan_encode(latents)),
                          expected_latents, 0.0));
  });
  EXPECT_EQ(codes, ranks.all(RankModels::kNone));
}

/// The plan's bytes are what the first rank takes, to the last one, and the others no more.
void expect_exact(RankModels& ranks, VaePlan plan,
                  const std::function<void(VaeModel&, const VaePlan&)>& work) {
  const auto allocations = [&](int rank_of) {
    int made = 0;
    const auto codes = ranks.run([&](VaeModel& model, int rank) {
      model.workspace().release();
      const int before = model.workspace().allocations();
      work(model, plan);
      if (rank == rank_of) made = model.workspace().allocations() - before;
    });
    EXPECT_EQ(codes, ranks.all(RankModels::kNone));
    return made;
  };
  for (const int rank : {0, 1, 2}) EXPECT_EQ(allocations(rank), 1) << "rank " << rank << " takes more";
  plan.bytes -= 64;  // the alignment
  EXPECT_GT(allocations(0), 1) << "the plan asks for more than is used";
}

TEST(VaeRanks, PlansSayHowMuchMemoryIsUsed) {
  for (const char* name : {"vae21/levels2", "vae22/levels2"}) {
    for (const LatentExtent& extent : {LatentExtent{2, 2, 5}, LatentExtent{2, 5, 2}}) {
      SCOPED_TRACE(fmt::format("{} {}x{}", name, extent.height, extent.width));
      RankModels ranks(name, 3, Kernels::kPlain);  // takes nothing of its own from the workspace
      const VaeGeometry geometry = ranks.first().vae().geometry();
      const Tensor latents = random_latents(geometry.z_dim, extent);
      const Tensor clip(DType::kF32, {geometry.frames(extent.frames), extent.height * geometry.spatial_stride,
                                      extent.width * geometry.spatial_stride, 3});
      std::fill_n(clip.as<float>(), clip.elements(), 0.5f);
      for (const bool frame_by_frame : {false, true}) {
        VaePlan plan = ranks.first().plan_decode(latents);
        plan.frame_by_frame = plan.compact_history = frame_by_frame;
        const auto bytes = [&](VaePlans plans) { return plans.whole_frames_bytes(); };
        if (frame_by_frame) plan.bytes = bytes(ranks.first().vae().decode_plans(extent, nullptr, 3));
        expect_exact(ranks, plan,
                     [&](VaeModel& model, const VaePlan& chosen) { model.decode(latents, chosen); });
        plan = ranks.first().plan_encode(latents);
        expect_exact(ranks, plan, [&](VaeModel& model, const VaePlan& chosen) {
          model.encode(clip, clip.dim(0), chosen);
        });
      }
    }
  }
}

TEST(VaeRanks, StopTogetherAfterAGroup) {
  RankModels ranks("vae21/levels4", 3);
  const Tensor latents = random_latents(16, {4, 4, 6});
  std::atomic<bool> stop = false;
  std::atomic<int> groups = 0;
  const auto codes = ranks.run([&](VaeModel& model, int rank) {
    if (rank == 0) model.context().cancelled_together = &stop;
    const VaePlan plan = model.plan_decode(latents);
    model.vae().decode(model.context(), latents, plan, [&](const TensorView&) {
      if (++groups == 2) stop = true;
    });
  });
  EXPECT_EQ(codes, ranks.all(ErrorCode::kCancelled));
  EXPECT_EQ(groups, 2);
  stop = false;
  std::atomic<int> asked = 0;
  const auto encoding = ranks.run([&](VaeModel& model, int rank) {
    if (rank == 0) model.context().cancelled_together = &stop;
    const Tensor encoded(DType::kF32, latents.shape());
    const auto source = [&](std::int64_t, const TensorView& frames) {
      std::fill_n(frames.as<float>(), frames.elements(), 0.0f);
      if (rank == 0 && ++asked == 2) stop = true;
    };
    model.vae().encode(model.context(), source, model.plan_encode(latents), encoded);
  });
  EXPECT_EQ(encoding, ranks.all(ErrorCode::kCancelled));
  EXPECT_EQ(asked, 2);
}

TEST(VaeRanks, OneThatFailsEndsTheOthers) {
  for (const int failing : {0, 2}) {
    RankModels ranks("vae22/levels4", 3);
    const Tensor latents = random_latents(48, {3, 3, 5});
    const auto codes = ranks.run([&](VaeModel& model, int rank) {
      if (rank == failing)
        model.context().taps = [](std::string_view name, const TensorView&) {
          if (name == "vae.decoder.upsamples.1") fail(ErrorCode::kOutOfMemory, "no memory");
        };
      model.decode(latents, model.plan_decode(latents));
    });
    EXPECT_EQ(codes, ranks.all(ErrorCode::kOutOfMemory));
  }
}

TEST(Strip, IsTheLongerSidesShare) {
  const IdleCommunicator three(3);
  EXPECT_TRUE(Strip(three, 3, 2).divides_rows());
  EXPECT_FALSE(Strip(three, 3, 3).divides_rows());
  EXPECT_FALSE(Strip(three, 2, 2).divided());
  const Strip strip(three, 5, 8);
  EXPECT_EQ(strip.range(0, 8), (Range{0, 3}));
  EXPECT_EQ(strip.range(2, 32), (Range{24, 32}));
  EXPECT_EQ(strip.whole_of({1, 10, 6, 4}), (Shape{1, 10, 16, 4}));
}

}  // namespace
}  // namespace wan::test
