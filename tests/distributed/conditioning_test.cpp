// What later variants need of the transformer: segments with timesteps of their own, extra tokens, stages after chosen
// blocks, and any of it over several ranks. Everything must come out as on one rank.

#include <gtest/gtest.h>

#include <thread>

#include "models/wan/transformer.h"
#include "ops/gated_residual.h"
#include "parallel/local/local_communicator.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/golden.h"

namespace wan::test {
namespace {

// Ranks split sums of attention differently by thread, nothing else: f32 rounding alone.
constexpr double kTolerance = 1e-6;

/// Adds to the reference tokens after block 0. Signs alternate: a layer norm would take a constant away again.
class AddToReferences final : public BlockStage {
 public:
  AddToReferences(std::int64_t first, std::int64_t dim, float value)
      : first_(first), added_(DType::kF32, {1, dim}) {
    for (std::int64_t i = 0; i < dim; ++i) added_.as<float>()[i] = i % 2 == 0 ? value : -value;
  }
  bool runs_after(int block) const override { return block == 0; }
  void run(ExecContext& ctx, const BlockEnd& end, const TensorView& x) override {
    const Range local = end.layout.local();
    for (std::int64_t token = std::max(first_, local.begin); token < local.end; ++token) {
      gated_residual(ctx, {.x = x.slice(0, token - local.begin, token - local.begin + 1),
                           .y = added_,
                           .gate = {},
                           .segments = {}});
      ++touched;
    }
  }
  std::int64_t touched = 0;

 private:
  std::int64_t first_;
  Tensor added_;
};

struct Outcome {
  Tensor velocity;
  Tensor other;  // of a second branch, with conditioning of its own
  std::int64_t touched = 0;
};

struct Setup {
  double first_frame_timestep = 0.0;
  float stage_value = 0.5f;
  float added_value = 0.25f;  // to the embeddings of some tokens, video and reference
  std::int32_t sampled = 2;   // step of the references' rows
};

/// One rank's pass of two branches: the first latent frame has a timestep of its own, three reference tokens follow the video, at
/// negative times and sampled rows. The second branch has nothing added and no stage.
Outcome run_rank(Communicator& communicator, const Setup& setup) {
  const GoldenFile golden(golden_path("models/dit_h4_d16/t1000.safetensors"));
  const auto backend = make_backend(Kernels::kCpu);
  const auto folder = golden_path("models/dit_h4_d16/model");
  WeightReport report(Checkpoint::open(folder), "transformer");
  const WeightScope scope(report, {});
  const WanConfig config = load_wan_config(folder, scope);
  const auto residency =
      make_residency({{scope, wan_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const WanTransformer transformer(config, scope, *residency, 0, DType::kF32, "");
  Workspace workspace(backend->allocator());
  ExecContext ctx{.backend = *backend, .workspace = workspace, .communicator = communicator};

  const Tensor latent = golden.tensor("latent");
  const std::int64_t rows = latent.dim(2) / config.patch[1];
  const std::int64_t columns = latent.dim(3) / config.patch[2];
  const TokenLayout video = TokenLayout::video(latent.dim(1), rows, columns, 1, 0);
  std::vector<TokenPosition> positions(video.local_positions().begin(), video.local_positions().end());
  constexpr std::int64_t kReferences = 3;
  for (std::int32_t i = 0; i < kReferences; ++i) positions.push_back({-3 - i, i * setup.sampled, -1});
  const std::int64_t pinned = rows;  // a row of patches: any part of the sequence may have its own timestep
  const TokenLayout layout(
      {{"pinned", pinned, 1}, {"video", video.tokens() - pinned, 0}, {"reference", kReferences, 1}},
      positions, communicator.size(), communicator.rank());

  const Tensor references(DType::kF32, {kReferences, config.dim});
  for (std::int64_t i = 0; i < references.elements(); ++i)
    references.as<float>()[i] = static_cast<float>(i % 7) * 0.1f - 0.3f;
  AddToReferences stage(video.tokens(), config.dim, setup.stage_value);
  Conditioning conditioning;
  conditioning.extra_tokens = references;
  conditioning.stages = {&stage};
  const Tensor added(DType::kF32, {video.tokens() - 2, config.dim});
  for (std::int64_t i = 0; i < added.elements(); ++i)
    added.as<float>()[i] = setup.added_value * static_cast<float>(i % 5 - 2);
  conditioning.added = {{.first = 3, .values = added}};
  Conditioning plain;
  plain.extra_tokens = references;

  TextContext text;
  transformer.embed_text(ctx, golden.tensor("context"), text);
  Outcome outcome{Tensor(DType::kF32, latent.shape()), Tensor(DType::kF32, latent.shape()), 0};
  const GuidanceBranch branches[] = {{&text, &conditioning, outcome.velocity},
                                     {&text, &plain, outcome.other}};
  const double timesteps[] = {500.0, setup.first_frame_timestep};
  const Tensor rope = transformer.make_rope_table(ctx, layout);
  transformer.forward(ctx, {latent, timesteps, layout, rope}, branches);
  outcome.touched = stage.touched;
  return outcome;
}

class ConditioningOverRanks : public testing::TestWithParam<int> {};

TEST_P(ConditioningOverRanks, SegmentsExtraTokensAndStagesComeOutAsOnOneRank) {
  const int ranks = GetParam();
  SelfCommunicator alone;
  const Outcome expected = run_rank(alone, {});
  EXPECT_EQ(expected.touched, 3);
  auto communicators = make_local_communicators(ranks);
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank)
    threads.emplace_back([&, rank] { outcomes[rank] = run_rank(*communicators[rank], {}); });
  for (std::thread& thread : threads) thread.join();
  std::int64_t touched = 0;
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(all_close(outcome.velocity, expected.velocity, kTolerance));
    EXPECT_TRUE(all_close(outcome.other, expected.other, kTolerance));
    touched += outcome.touched;
  }
  EXPECT_EQ(touched, 3);
}

INSTANTIATE_TEST_SUITE_P(Ranks, ConditioningOverRanks, testing::Values(2, 4));

TEST(Conditioning, BelongsToItsBranch) {
  SelfCommunicator alone;
  const Outcome outcome = run_rank(alone, {});
  EXPECT_FALSE(all_close(outcome.other, outcome.velocity, 1e-4));
  const Outcome changed = run_rank(alone, {.stage_value = 2.0f, .added_value = 1.0f});
  EXPECT_TRUE(all_close(changed.other, outcome.other, 0.0)) << "the first branch's reached the second";
  // Without either the branches are one.
  const Outcome same = run_rank(alone, {.stage_value = 0.0f, .added_value = 0.0f});
  EXPECT_TRUE(all_close(same.velocity, same.other, kTolerance));
}

TEST(Conditioning, EveryPartOfItReachesTheVideo) {
  SelfCommunicator alone;
  const Tensor plain = run_rank(alone, {}).velocity;
  EXPECT_FALSE(all_close(run_rank(alone, {.added_value = 0.5f}).velocity, plain, 1e-4));
  EXPECT_FALSE(all_close(run_rank(alone, {.sampled = 3}).velocity, plain, 1e-4));
  EXPECT_FALSE(all_close(run_rank(alone, {.first_frame_timestep = 300.0}).velocity, plain, 1e-4));
  EXPECT_FALSE(all_close(run_rank(alone, {.stage_value = 2.0f}).velocity, plain, 1e-4));
}

}  // namespace
}  // namespace wan::test
