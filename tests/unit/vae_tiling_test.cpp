// Tiles of a VAE: where they lie, their weights, and that blending alone changes nothing.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "models/video_vae/plan.h"
#include "models/video_vae/tiled.h"
#include "models/video_vae/tiling.h"
#include "ops/copy.h"
#include "support/compare.h"
#include "support/plain_backend.h"

namespace wan::test {
namespace {

TEST(TileSpans, CoverTheExtentAndShareTheOverlap) {
  for (std::int64_t extent = 1; extent <= 40; ++extent) {
    for (std::int64_t tile = 1; tile <= extent + 1; ++tile) {
      for (std::int64_t overlap = 0; overlap < tile; ++overlap) {
        const std::vector<TileSpan> spans = tile_spans(extent, tile, overlap);
        ASSERT_EQ(spans.front().begin, 0);
        ASSERT_EQ(spans.back().end, extent);
        for (std::size_t i = 1; i < spans.size(); ++i) {
          ASSERT_EQ(spans[i].size(), tile);
          ASSERT_GT(spans[i].begin, spans[i - 1].begin);
          ASSERT_GE(spans[i - 1].end - spans[i].begin, overlap) << extent << ' ' << tile << ' ' << overlap;
        }
      }
    }
  }
}

TEST(BlendWeights, AddUpToOneEverywhere) {
  for (const std::int64_t stride : {1, 3, 8}) {
    for (const auto& [tile, overlap] : {std::pair{8, 2}, {8, 4}, {7, 6}, {5, 0}}) {
      const std::vector<TileSpan> spans = tile_spans(23, tile, overlap);
      std::vector<double> sums(static_cast<std::size_t>(23 * stride));
      for (std::size_t i = 0; i < spans.size(); ++i) {
        const std::vector<float> weights = blend_weights(spans, i, stride);
        ASSERT_EQ(static_cast<std::int64_t>(weights.size()), spans[i].size() * stride);
        for (std::size_t j = 0; j < weights.size(); ++j)
          sums[static_cast<std::size_t>(spans[i].begin * stride) + j] += static_cast<double>(weights[j]);
      }
      for (const double sum : sums) EXPECT_NEAR(sum, 1.0, 1e-6);  // a few f32 roundings
    }
  }
}

TEST(BlendWeights, FallLinearlyOverTheOverlap) {
  const std::vector<TileSpan> spans{{0, 4}, {2, 6}};
  const std::vector<float> first{1.0f, 1.0f, 0.75f, 0.25f};
  EXPECT_EQ(blend_weights(spans, 0, 1), first);
  const std::vector<float> second{0.25f, 0.75f, 1.0f, 1.0f};
  EXPECT_EQ(blend_weights(spans, 1, 1), second);
}

/// A VAE without neighbourhoods: each pixel is its latent's first three channels, plus the frame's number.
class Pointwise {
 public:
  static constexpr VaeGeometry kGeometry{.z_dim = 3, .temporal_stride = 4, .spatial_stride = 2};

  static void decode(const TensorView& latents, const FrameConsumer& sink) {
    for (std::int64_t f = 0; f < latents.dim(1); ++f) {
      const Tensor frames(DType::kF32, {f == 0 ? 1 : 4, 2 * latents.dim(2), 2 * latents.dim(3), 3});
      for (std::int64_t t = 0; t < frames.dim(0); ++t)
        for (std::int64_t y = 0; y < frames.dim(1); ++y)
          for (std::int64_t x = 0; x < frames.dim(2); ++x)
            for (std::int64_t c = 0; c < 3; ++c)
              store_element(frames, {t, y, x, c},
                            load_element(latents, {c, f, y / 2, x / 2}) + static_cast<double>(t));
      sink(frames);
    }
  }

  static void encode(const FrameSource& source, const TensorView& latents) {
    for (std::int64_t f = 0; f < latents.dim(1); ++f) {
      const Tensor frames(DType::kF32, {f == 0 ? 1 : 4, 2 * latents.dim(2), 2 * latents.dim(3), 3});
      source(f == 0 ? 0 : 4 * f - 3, frames);
      for (std::int64_t c = 0; c < 3; ++c)
        for (std::int64_t y = 0; y < latents.dim(2); ++y)
          for (std::int64_t x = 0; x < latents.dim(3); ++x)
            store_element(latents, {c, f, y, x}, load_element(frames, {frames.dim(0) - 1, 2 * y, 2 * x, c}));
    }
  }
};

class TiledPointwise : public ::testing::Test {
 protected:
  TiledPointwise() {
    std::iota(latents_.as<float>(), latents_.as<float>() + latents_.elements(), 0.0f);
    // What is summed up without having been zeroed shows as NaN.
    const Workspace::Scope scope(workspace_);
    fill_nan(workspace_.take(DType::kF32, {1 << 16}));
  }

  static void fill_nan(const TensorView& view) {
    std::fill_n(view.as<float>(), view.elements(), std::numeric_limits<float>::quiet_NaN());
  }

  Tensor decoded(const VaePlan& plan) {
    Tensor clip(DType::kF32, {9, 22, 14, 3});
    std::int64_t first = 0;
    decode_tiled(
        context_, Pointwise::kGeometry, plan, latents_,
        [&](const TensorView& group) {
          reference(CopyArgs{.from = group, .out = clip.view().slice(0, first, first + group.dim(0))});
          first += group.dim(0);
        },
        Pointwise::decode);
    EXPECT_EQ(first, 9);
    return clip;
  }

  Tensor encoded(const Tensor& clip, const VaePlan& plan) {
    Tensor latents(DType::kF32, latents_.shape());
    fill_nan(latents);
    encode_tiled(
        context_, Pointwise::kGeometry, plan,
        [&](std::int64_t first, const TensorView& frames) {
          reference(CopyArgs{.from = clip.view().slice(0, first, first + frames.dim(0)), .out = frames});
        },
        latents, Pointwise::encode);
    return latents;
  }

  const Tensor latents_{DType::kF32, {3, 3, 11, 7}};
  const VaePlan whole_{.tile_height = 11, .tile_width = 7};
  const VaePlan tiles_{.tile_height = 5, .tile_width = 4, .overlap_height = 2, .overlap_width = 1};

 private:
  PlainBackend backend_;
  Workspace workspace_{backend_.allocator()};
  SelfCommunicator alone_;
  ExecContext context_{.backend = backend_, .workspace = workspace_, .communicator = alone_};
};

// Weighted sums of up to four equal values: f32 roundings.
constexpr double kTolerance = 1e-6;

TEST_F(TiledPointwise, TilesChangeNothingByThemselves) {
  const Tensor clip = decoded(whole_);
  EXPECT_TRUE(all_close(decoded(tiles_), clip, kTolerance));
  const Tensor latents = encoded(clip, whole_);
  EXPECT_TRUE(all_close(encoded(clip, tiles_), latents, kTolerance));
}

TEST(ChoosePlan, TakesTheFirstWayThatFits) {
  // 100 bytes a latent of a tile, twice as much in place.
  const auto bytes = [](const VaePlan& plan) {
    return static_cast<std::size_t>(plan.tile_height * plan.tile_width * (plan.compact_history ? 100 : 200));
  };
  const LatentExtent extent{.frames = 3, .height = 30, .width = 40};
  EXPECT_FALSE(VaePlans("test", extent, bytes).within(0).compact_history);
  EXPECT_FALSE(VaePlans("test", extent, bytes).within(240000).compact_history);
  const VaePlan compact = VaePlans("test", extent, bytes).within(239999);
  EXPECT_TRUE(compact.compact_history);
  EXPECT_EQ(compact.tile_height * compact.tile_width, 30 * 40);
  const VaePlan two =
      VaePlans("test", extent, bytes).within(119999);  // two tiles side by side are least work
  EXPECT_EQ(two.tile_height, 30);
  EXPECT_EQ(tile_spans(40, two.tile_width, two.overlap_width).size(), 2u);
  for (const std::size_t budget : {100000u, 60000u, 30000u, 9000u, 1600u}) {
    const VaePlan plan = VaePlans("test", extent, bytes).within(budget);
    EXPECT_LE(plan.bytes, budget);
    EXPECT_EQ(plan.bytes, bytes(plan));
  }
}

TEST(ChoosePlan, TakesWholeGroupsWhereTheyAreSmall) {
  const auto bytes = [](const VaePlan& plan) {
    return static_cast<std::size_t>(plan.tile_height * plan.tile_width) << (plan.frame_by_frame ? 19 : 20);
  };
  EXPECT_FALSE(VaePlans("test", {.frames = 3, .height = 32, .width = 32}, bytes).within(0).frame_by_frame);
  EXPECT_TRUE(VaePlans("test", {.frames = 3, .height = 32, .width = 33}, bytes).within(0).frame_by_frame);
  const std::size_t budget = std::size_t{1} << 29;
  const VaePlan plan = VaePlans("test", {.frames = 3, .height = 32, .width = 32}, bytes).within(budget);
  EXPECT_TRUE(plan.frame_by_frame && !plan.compact_history);
  EXPECT_EQ(plan.tile_height, 32);
}

}  // namespace
}  // namespace wan::test
