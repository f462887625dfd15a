// The models of character animation against the official ones, layer by layer: the image tower, the motion encoder, the face's path and
// the transformer.

#include <gtest/gtest.h>

#include <thread>

#include "models/clip/clip_vision.h"
#include "models/wan/animate/animate_conditioning.h"
#include "models/wan/animate/orthonormal.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "parallel/local/local_communicator.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/tap_recorder.h"
#include "tasks/animate/character_picture.h"

namespace wan::test::animate_transformer_test {
namespace {

// Both sides compute in f32 and differ in the order of sums; see wan_transformer_test.cpp.
constexpr double kAnimateTolerance = 2e-5;

GoldenFile golden_animation(const std::string& file) {
  return GoldenFile(golden_path("models/animate/" + file + ".safetensors"));
}

struct AnimateBlocks {
  ResidencyKind kind = ResidencyKind::kResident;
  DType weights = DType::kF32;
};

/// One rank's model, with all that it runs on.
class AnimateModel {
 public:
  AnimateModel(Kernels kernels, Communicator& communicator, const AnimateBlocks& blocks = {})
      : backend_(make_backend(kernels)),
        folder_(golden_path("animate/checkpoint")),
        report_(Checkpoint::open(folder_), "transformer"),
        scope_(report_, {.compute_dtype = blocks.weights}),
        config_(load_wan_config(folder_, scope_)),
        residency_(make_residency({{scope_, wan_block_layout(config_), static_cast<int>(config_.num_layers)}},
                                  {.kind = blocks.kind})),
        transformer_(config_, scope_, *residency_, 0,
                     kernels == Kernels::kCuda ? blocks.weights : DType::kF32, ""),
        workspace_(backend_->allocator()),
        context_{.backend = *backend_, .workspace = workspace_, .communicator = communicator} {
    report_.check();
  }

  void listen(Taps taps) { context_.taps = std::move(taps); }
  const WanConfig& config() const { return config_; }
  ExecContext& context() { return context_; }
  const WanTransformer& transformer() const { return transformer_; }
  int allocations() const { return workspace_.allocations(); }

  /// Of a golden file; a second branch has the faces turned to their negative.
  std::vector<Tensor> forward(const GoldenFile& golden, int branches = 1, int passes = 1) {
    const Tensor latent = golden.tensor("latent");
    const Tensor channels = channels_of(golden);
    CharacterContext character(context_, transformer_, golden.tensor("image"));
    std::vector<Tensor> motion;
    AnimateInput input{.channels = channels, .motion = {}};
    for (int i = 0; i < branches; ++i) input.motion.push_back(motion.emplace_back(motion_of(golden, i > 0)));
    const AnimateConditioning conditioning(context_, transformer_, character, input);
    const TokenLayout layout = TokenLayout::video(latent.dim(1), latent.dim(2) / 2, latent.dim(3) / 2,
                                                  context_.communicator.size(), context_.communicator.rank());
    const Tensor rope = transformer_.make_rope_table(context_, layout);
    const double timesteps[] = {static_cast<double>(golden.integers("timestep").front())};
    std::vector<TextContext> texts(static_cast<std::size_t>(branches));
    std::vector<Tensor> velocities;
    std::vector<GuidanceBranch> made;
    for (TextContext& text : texts) {
      velocities.emplace_back(DType::kF32, latent.shape());
      transformer_.embed_text(context_, golden.tensor("context"), text);
    }
    for (int i = 0; i < branches; ++i)
      made.push_back({&texts[static_cast<std::size_t>(i)], &conditioning.branch(i),
                      velocities[static_cast<std::size_t>(i)]});
    for (int pass = 0; pass < passes; ++pass)
      transformer_.forward(context_, {latent, timesteps, layout, rope}, made);
    return velocities;
  }

 private:
  Tensor channels_of(const GoldenFile& golden) {
    const Tensor y = golden.tensor("y"), pose = golden.tensor("pose");
    const AnimateChannels at(config_);
    Tensor channels(DType::kF32, {at.all(), y.dim(1), y.dim(2), y.dim(3)});
    fill_zero(context_, channels);
    copy(context_, {y, channels.view().slice(0, 0, at.known)});
    copy(context_, {pose, channels.view().slice(0, at.known, at.pose).slice(1, 1, y.dim(1))});
    mark_posed_frames(context_, at, channels);
    return channels;
  }

  Tensor motion_of(const GoldenFile& golden, bool negative) {
    const Tensor levels = golden.tensor("faces");
    const Tensor faces(DType::kF32, levels.shape());
    for (std::int64_t i = 0; i < faces.elements(); ++i)
      faces.as<float>()[i] =
          (static_cast<float>(levels.as<std::uint8_t>()[i]) / 127.5f - 1.0f) * (negative ? -1.0f : 1.0f);
    Tensor motion(DType::kF32, {faces.dim(0), config_.animate->motion_dim});
    transformer_.motion_encoder().encode(context_, faces, motion);
    return motion;
  }

  std::unique_ptr<Backend> backend_;
  std::filesystem::path folder_;
  WeightReport report_;
  WeightScope scope_;
  WanConfig config_;
  std::unique_ptr<BlockResidency> residency_;
  WanTransformer transformer_;
  Workspace workspace_;
  ExecContext context_;
};

class AnimateTransformerParity : public ::testing::TestWithParam<std::tuple<const char*, Kernels>> {
 protected:
  AnimateTransformerParity() : golden_(golden_animation(std::get<0>(GetParam()))) {}
  Kernels kernels() const { return std::get<1>(GetParam()); }

  GoldenFile golden_;
  SelfCommunicator alone_;
};

TEST_P(AnimateTransformerParity, EveryLayerIsTheOfficialOne) {
  AnimateModel model(kernels(), alone_);
  TapRecorder taps;
  model.listen(taps.listener());
  const Tensor velocity = std::move(model.forward(golden_).front());
  const bool every = golden_.has("tap.blocks.0");
  EXPECT_TRUE(taps_match(
      taps, golden_, {"", every ? TapCoverage::kEveryLayer : TapCoverage::kSomeLayers, kAnimateTolerance}));
  EXPECT_TRUE(all_close(velocity, golden_.tensor("output"), kAnimateTolerance));
}

TEST_P(AnimateTransformerParity, StreamedFaceBlocksComeWithTheirBlocks) {
  if (kernels() == Kernels::kPlain) GTEST_SKIP() << "the composites know nothing of it";
  AnimateModel model(kernels(), alone_, {.kind = ResidencyKind::kStreamed});
  const std::vector<Tensor> both = model.forward(golden_, 2);
  EXPECT_TRUE(all_close(both[0], golden_.tensor("output"), kAnimateTolerance));
  EXPECT_FALSE(all_close(both[1], both[0], 1e-3)) << "the branches have the same face";
}

TEST_P(AnimateTransformerParity, SeveralRanksGiveTheSame) {
  if (kernels() == Kernels::kPlain) GTEST_SKIP() << "the composites know nothing of it";
  for (int ranks = 2; ranks <= 2; ++ranks) {
    auto communicators = make_local_communicators(ranks);
    std::vector<Tensor> velocities(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < velocities.size(); ++rank)
      threads.emplace_back([&, rank] {
        AnimateModel model(kernels(), *communicators[rank]);
        velocities[rank] = std::move(model.forward(golden_).front());
      });
    for (std::thread& thread : threads) thread.join();
    for (const Tensor& velocity : velocities)
      EXPECT_TRUE(all_close(velocity, golden_.tensor("output"), kAnimateTolerance)) << ranks << " ranks";
  }
}

// The bound of bf16_layers_test.cpp for layers: 8 bits of a value, rounded before every product.
TEST_P(AnimateTransformerParity, InBf16TheOutputIsCloseToTheOfficialOne) {
  AnimateModel model(kernels(), alone_, {.weights = DType::kBF16});
  const Tensor velocity = std::move(model.forward(golden_).front());
  EXPECT_TRUE(all_close(velocity, golden_.tensor("output"), 3e-2));
  EXPECT_FALSE(all_close(velocity, golden_.tensor("output"), kAnimateTolerance)) << "nothing was rounded";
}

std::string animate_case_name(const ::testing::TestParamInfo<std::tuple<const char*, Kernels>>& instance) {
  return std::string(std::get<0>(instance.param)) + "_" + kernels_name(std::get<1>(instance.param));
}

INSTANTIATE_TEST_SUITE_P(Models, AnimateTransformerParity,
                         ::testing::Combine(::testing::Values("short", "long"),
                                            ::testing::ValuesIn(all_kernels())),
                         animate_case_name);

TEST(AnimateTransformer, ASecondPassAllocatesNothingAndComputesNothingOfThePictureAgain) {
  const GoldenFile golden = golden_animation("long");
  SelfCommunicator alone;
  AnimateModel model(all_kernels().back(), alone);
  std::int64_t flops = 0;
  model.context().flops = &flops;
  model.forward(golden, 2, 0);
  const std::int64_t before = std::exchange(flops, 0);
  const Tensor once = std::move(model.forward(golden, 2).front());
  const int allocations = model.allocations();
  const std::int64_t first = std::exchange(flops, 0) - before;
  const Tensor twice = std::move(model.forward(golden, 2, 2).front());
  EXPECT_EQ(model.allocations(), allocations);
  const std::int64_t second = flops - before - first;
  // Keys and values in each block: of the text, with a row for its padding, in both branches; of the picture once for both; and of the
  // faces in each face block, in both branches.
  const WanConfig& config = model.config();
  const std::int64_t frames = golden.tensor("latent").dim(1), image = golden.tensor("image").dim(0);
  const std::int64_t text = 2 * (golden.tensor("context").dim(0) + 1);
  const std::int64_t faces = 2 * frames * (config.animate->face_heads + 1);
  const auto face_count = static_cast<std::int64_t>(face_blocks(config).size());
  const std::int64_t rows = config.num_layers * (text + image) + face_count * faces;
  EXPECT_EQ(first - second, 2 * 2 * rows * config.dim * config.dim);
  EXPECT_TRUE(all_close(twice, once, 0.0)) << "what is kept of the clip changed";
}

TEST(AnimateTransformer, RefusesInputsThatDoNotBelongTogether) {
  SelfCommunicator alone;
  AnimateModel model(all_kernels().back(), alone);
  const WanConfig& config = model.config();
  const Tensor tokens(DType::kF32, {257, config.animate->image_dim});
  fill_zero(model.context(), tokens);
  CharacterContext character(model.context(), model.transformer(), tokens);
  const Tensor channels(DType::kF32, {AnimateChannels(config).all(), 3, 4, 4});
  const Tensor motion(DType::kF32, {9, config.animate->motion_dim});
  expect_error(ErrorCode::kInvalidArgument, "takes motion of faces", [&] {
    AnimateConditioning(model.context(), model.transformer(), character,
                        {.channels = channels, .motion = {motion}});
  });
  const Tensor wide(DType::kF32, {257, config.animate->image_dim + 1});
  expect_error(ErrorCode::kBadFile, "the image encoder gives vectors of 33, the diffusion model takes 32",
               [&] { CharacterContext(model.context(), model.transformer(), wide); });
  const Tensor small(DType::kF32, {1, 8, 8, 3});
  const Tensor one(DType::kF32, {1, config.animate->motion_dim});
  expect_error(ErrorCode::kInvalidArgument, "pictures of 16 x 16",
               [&] { model.transformer().motion_encoder().encode(model.context(), small, one); });
}

TEST(Orthonormalize, IsLapacksQ) {
  const GoldenFile golden = golden_animation("directions");
  for (const char* const name : {"square", "tall", "bare"}) {
    const Tensor matrix = golden.tensor(std::string(name) + ".matrix");
    const Tensor q(DType::kF32, matrix.shape());
    orthonormalize(matrix, q);
    EXPECT_TRUE(all_close(q, golden.tensor(std::string(name) + ".q"), kAnimateTolerance)) << name;
  }
}

class ClipParity : public ::testing::TestWithParam<Kernels> {};

TEST_P(ClipParity, TheTokensAreTheOfficialOnes) {
  const GoldenFile golden = golden_animation("clip");
  SelfCommunicator alone;
  const std::unique_ptr<Backend> backend = make_backend(GetParam());
  WeightReport report(
      Checkpoint::open(golden_path("animate/checkpoint/"
                                   "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth")),
      "image encoder");
  const WeightScope top(report, {.compute_dtype = DType::kF32});
  const ClipConfig config = clip_config(top.child("visual"));
  const auto residency = make_residency(
      {{top.child("visual"), clip_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const ClipVision clip(config, top.child("visual"), *residency, 0, "");
  skip_unneeded_clip(top);
  report.check();
  Workspace workspace(backend->allocator());
  ExecContext context{.backend = *backend, .workspace = workspace, .communicator = alone};
  const Tensor levels = golden.tensor("picture");  // [height, width, 3]
  const auto* const rgb = levels.as<std::uint8_t>();
  const Image picture{.width = static_cast<int>(levels.dim(1)),
                      .height = static_cast<int>(levels.dim(0)),
                      .rgb = {rgb, rgb + levels.elements()}};
  const Tensor pixels = clip_pixels(picture, config);
  Tensor some(DType::kF32, golden.tensor("pixels").shape());
  for (std::int64_t c = 0; c < 3; ++c)
    for (std::int64_t y = 0; y < some.dim(1); ++y)
      for (std::int64_t x = 0; x < some.dim(2); ++x)
        some.as<float>()[(c * some.dim(1) + y) * some.dim(2) + x] =
            pixels.as<float>()[(c * pixels.dim(1) + 8 * y) * pixels.dim(2) + 8 * x];
  EXPECT_TRUE(all_close(some, golden.tensor("pixels"), 1e-6));
  const Tensor tokens(DType::kF32, {config.tokens(), config.dim});
  clip.encode(context, pixels, tokens);
  EXPECT_TRUE(all_close(tokens, golden.tensor("tokens"), kAnimateTolerance));
}

INSTANTIATE_TEST_SUITE_P(Models, ClipParity, ::testing::ValuesIn(all_kernels()),
                         [](const auto& instance) { return std::string(kernels_name(instance.param)); });

}  // namespace
}  // namespace wan::test::animate_transformer_test
