// Upsampling band by band against the whole frame at once, and rings of frames against frames that move.

#include <gtest/gtest.h>

#include <random>

#include "models/video_vae/upsample_conv.h"
#include "ops/copy.h"
#include "ops/upsample.h"
#include "support/compare.h"
#include "support/plain_backend.h"

namespace wan::test {
namespace {

Tensor random_tensor(const Shape& shape) {
  static std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  Tensor tensor(DType::kF32, shape);
  std::generate_n(tensor.as<float>(), tensor.elements(), [&] { return normal(generator); });
  return tensor;
}

class VaeConvolutions : public ::testing::Test {
 protected:
  PlainBackend backend_;
  Workspace workspace_{backend_.allocator()};
  SelfCommunicator alone_;
  ExecContext ctx_{.backend = backend_, .workspace = workspace_, .communicator = alone_};
};

TEST_F(VaeConvolutions, BandsGiveWhatTheWholeFrameGives) {
  const Tensor x = random_tensor({2, 7, 5, 3});
  const Tensor weight = random_tensor({4, 1, 3, 3, 3});
  const Tensor bias = random_tensor({4});
  const Tensor before = random_tensor({2, 14, 10, 4});
  const Workspace::Scope scope(workspace_);
  const Tensor large(DType::kF32, {2, 14, 10, 3});
  const Tensor expected(DType::kF32, before.shape());
  reference(UpsampleArgs{.x = x, .out = large});
  reference(Conv3dArgs{.x = large,
                       .weight = weight,
                       .bias = bias,
                       .padding = {.top = 1, .bottom = 1, .left = 1, .right = 1},
                       .residual = before,
                       .out = expected});
  Tensor own_weight(DType::kF32, weight.shape());
  Tensor own_bias(DType::kF32, bias.shape());
  reference(CopyArgs{.from = weight, .out = own_weight});
  reference(CopyArgs{.from = bias, .out = own_bias});
  const CausalConv3d conv(std::move(own_weight), std::move(own_bias),
                          {.in = 3, .out = 4, .kernel = {1, 3, 3}, .padding = {.left = 1, .right = 1}});
  for (const std::int64_t rows : {1, 2, 3, 6, 7}) {
    const Tensor out(DType::kF32, before.shape());
    reference(CopyArgs{.from = before, .out = out});
    upsample_conv(ctx_, conv, {.x = x, .rows = rows, .residual = out, .out = out});
    EXPECT_TRUE(all_close(out, expected, 0.0)) << rows << " rows";
  }
}

TEST(UpsampleConvRows, AreEvenAndWithinTheirBytes) {
  EXPECT_EQ(upsample_conv_rows({1, 16, 16, 64}), 16);
  // 1280 x 720 from 640 x 360 of 192 channels: 1.97 MB a row of the source, 17 of them in 32 MiB.
  const Shape frame{1, 360, 640, 192};
  EXPECT_EQ(upsample_conv_rows(frame), 17);
  EXPECT_EQ(upsample_conv_rows({1, 3, 1 << 20, 64}), 1) << "a row that is larger";
}

TEST_F(VaeConvolutions, ARingGivesWhatMovedFramesGive) {
  const Shape frame{1, 3, 4, 2};
  const CausalConv3d conv(random_tensor({4, 3, 1, 1, 2}), random_tensor({4}),
                          {.in = 2, .out = 4, .kernel = {3, 1, 1}});
  const Workspace::Scope scope(workspace_);
  FeatureCache moving(workspace_, {.layout = HistoryLayout::kInPlace, .history = 2, .group = frame});
  FeatureCache ring(workspace_, {.layout = HistoryLayout::kRing, .history = 2, .group = frame});
  moving.reset(ctx_);
  ring.reset(ctx_);
  for (int t = 0; t < 7; ++t) {
    const Tensor x = random_tensor(frame);
    std::vector<Tensor> outs;
    std::vector<Tensor> halves;
    for (FeatureCache* cache : {&moving, &ring}) {
      const Workspace::Scope opened_scope(workspace_);
      const FrameWindow opened = cache->open(ctx_, 1);
      reference(CopyArgs{.from = x, .out = cache->new_frames(opened)});
      outs.emplace_back(DType::kF32, Shape{1, 3, 4, 4});
      conv.forward(ctx_, opened, outs.back());
      halves.emplace_back(DType::kF32, Shape{1, 3, 4, 2});
      halves.emplace_back(DType::kF32, Shape{1, 3, 4, 2});
      conv.forward_halves(ctx_, opened, halves[halves.size() - 2], halves.back());
      cache->close(ctx_, opened);
    }
    // Sums of six products in another order, in f64 before they are rounded.
    EXPECT_TRUE(all_close(outs[1], outs[0], 1e-6)) << "frame " << t;
    EXPECT_TRUE(all_close(halves[2], outs[0].view().slice(3, 0, 2), 1e-6)) << "frame " << t;
    EXPECT_TRUE(all_close(halves[3], outs[0].view().slice(3, 2, 4), 1e-6)) << "frame " << t;
  }
}

TEST(CausalConvolution, TurnsItsWeightsWhereTheyAreFewerThanTheHistory) {
  const CausalConv3d conv({}, {}, {.in = 8, .out = 8, .kernel = {3, 3, 3}});  // 1728 weights
  EXPECT_TRUE(conv.turns_cheaply({1, 12, 9, 8}));                             // 2 x 864 values
  EXPECT_FALSE(conv.turns_cheaply({1, 12, 8, 8}));
  const CausalConv3d halving({}, {}, {.in = 1, .out = 1, .kernel = {3, 1, 1}, .stride = {2, 1, 1}});
  EXPECT_FALSE(halving.turns_cheaply({1, 100, 100, 1})) << "its frames go by in pairs";
}

}  // namespace
}  // namespace wan::test
