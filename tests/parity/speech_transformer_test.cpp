// The transformer of speech to video against the official one, layer by layer: the first clip and later ones, with and without
// poses, both guidance branches.

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "models/wan/s2v/audio_encoder.h"
#include "models/wan/s2v/audio_injector.h"
#include "models/wan/s2v/speech_conditioning.h"
#include "parallel/local/local_communicator.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/tap_recorder.h"
#include "weights/convert.h"

namespace wan::test::speech_transformer_test {
namespace {

// Both sides compute in f32 and differ in the order of sums; see wan_transformer_test.cpp.
constexpr double kTolerance = 2e-5;

struct Case {
  const char* file;  // of tests/golden/models/s2v: one forward pass
  TapCoverage coverage;
};

constexpr Case kCases[] = {
    {"first", TapCoverage::kEveryLayer},
    {"first_unheard", TapCoverage::kEveryLayer},
    {"later", TapCoverage::kEveryLayer},
    {"later_unheard", TapCoverage::kSomeLayers},
    // 12 columns of patches, of which the motion's are sampled.
    {"sampled", TapCoverage::kSomeLayers},
};

GoldenFile golden_of(const char* file) {
  return GoldenFile(golden_path(std::string("models/s2v/") + file + ".safetensors"));
}

Tensor as_f32(const Tensor& tensor) {
  Tensor result(DType::kF32, tensor.shape());
  convert(tensor, result, {.threads = 1});
  return result;
}

/// How a rank comes by its blocks, and in which precision.
struct Blocks {
  ResidencyKind kind = ResidencyKind::kResident;
  BlockShare share = {};
  DType weights = DType::kF32;
};

/// What activations are in where weights are bf16: the CPU leaves them in f32.
DType activations(Kernels kernels, DType weights) {
  return kernels == Kernels::kCuda ? weights : DType::kF32;
}

/// One rank's model, with all that it runs on.
class SpeechModel {
 public:
  SpeechModel(Kernels kernels, Communicator& communicator, const Blocks& blocks = {})
      : backend_(make_backend(kernels)),
        folder_(golden_path("speech/checkpoint")),
        report_(Checkpoint::open(folder_), "transformer"),
        scope_(report_, {.compute_dtype = blocks.weights}),
        config_(load_wan_config(folder_, scope_)),
        residency_(make_residency(
            {{scope_, wan_block_layout(config_), static_cast<int>(config_.num_layers), blocks.share}},
            {.kind = blocks.kind})),
        transformer_(config_, scope_, *residency_, 0, activations(kernels, blocks.weights), "noise_model."),
        workspace_(backend_->allocator()),
        context_{.backend = *backend_, .workspace = workspace_, .communicator = communicator} {
    report_.check();
  }

  void listen(Taps taps) { context_.taps = std::move(taps); }
  const WanConfig& config() const { return config_; }
  BlockResidency& residency() { return *residency_; }
  ExecContext& context() { return context_; }
  const WanTransformer& transformer() const { return transformer_; }
  int allocations() const { return workspace_.allocations(); }

  std::vector<BlockId> blocks() const {
    std::vector<BlockId> blocks;
    for (int block = 0; block < static_cast<int>(config_.num_layers); ++block) blocks.push_back({0, block});
    return blocks;
  }

  /// What the transformer hears of layers [L, C, frames]: [C, frames].
  Tensor mean_of_layers(const Tensor& layers) {
    const std::vector<double> shares = audio_layer_shares(context_, transformer_.weights().speech.audio);
    Tensor mean(DType::kF32, {layers.dim(1), layers.dim(2)});
    std::fill_n(mean.as<float>(), mean.elements(), 0.0f);
    for (std::int64_t i = 0; i < layers.dim(0); ++i)
      add_audio_layer(layers.view().select(0, i), shares[static_cast<std::size_t>(i)], mean);
    return mean;
  }

  /// Of a golden file's branch, the other one beside it where `both`: the first is the file's.
  std::vector<Tensor> forward(const GoldenFile& golden, bool both, int passes = 1) {
    const Inputs inputs(golden, *this);
    const bool heard = golden.integers("heard").front() != 0;
    const SpeechConditioning conditioning(context_, transformer_, inputs.views(), 2);
    const TokenLayout layout = speech_layout(config_, inputs.latent.shape(), !inputs.motion.empty(),
                                             context_.communicator.size(), context_.communicator.rank());
    const Tensor rope = transformer_.make_rope_table(context_, layout);
    const double timesteps[] = {static_cast<double>(golden.integers("timestep").front()), 0.0};
    std::vector<TextContext> texts(both ? 2 : 1);
    std::vector<Tensor> velocities;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      velocities.emplace_back(DType::kF32, inputs.latent.shape());
      transformer_.embed_text(context_, golden.tensor("context"), texts[i]);
    }
    std::vector<GuidanceBranch> branches;
    for (std::size_t i = 0; i < texts.size(); ++i)
      branches.push_back({&texts[i], &conditioning.branch(heard == (i == 0) ? 0 : 1), velocities[i]});
    for (int pass = 0; pass < passes; ++pass)
      transformer_.forward(context_, {inputs.latent, timesteps, layout, rope}, branches);
    return velocities;
  }

  struct Inputs {
    Inputs(const GoldenFile& golden, SpeechModel& model)
        : latent(golden.tensor("latent")),
          audio(model.mean_of_layers(golden.tensor("audio"))),
          reference(golden.tensor("reference")),
          motion(golden.has("motion") ? as_f32(golden.tensor("motion")) : Tensor()),
          pose(golden.has("pose") ? golden.tensor("pose") : Tensor()) {}
    SpeechInput views() const {
      return {.audio = audio, .reference = reference, .motion = motion, .pose = pose};
    }
    Tensor latent, audio, reference, motion, pose;
  };

 private:
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

/// Names of a branch's taps as the golden files', which hold one branch; the other branch's sound is left out.
Taps of_branch(Taps taps, bool heard) {
  return [taps = std::move(taps), heard](std::string_view name, const TensorView& output) {
    constexpr std::string_view kUnheard = "_uncond";
    const bool sound = name.starts_with("audio_tokens") || name.starts_with("audio_global");
    if (sound && name.ends_with(kUnheard) == heard) return;
    if (sound && !heard) name.remove_suffix(kUnheard.size());
    constexpr std::string_view kPrefix = "noise_model.";
    taps(name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name, output);
  };
}

class SpeechTransformerParity : public ::testing::TestWithParam<std::tuple<Case, Kernels>> {
 protected:
  const Case& test_case() const { return std::get<0>(GetParam()); }
  Kernels kernels() const { return std::get<1>(GetParam()); }
};

TEST_P(SpeechTransformerParity, EveryLayerIsTheOfficialOne) {
  const GoldenFile golden = golden_of(test_case().file);
  SelfCommunicator alone;
  SpeechModel model(kernels(), alone);
  TapRecorder taps;
  model.listen(of_branch(taps.listener(), golden.integers("heard").front() != 0));
  const Tensor velocity = std::move(model.forward(golden, false).front());
  EXPECT_TRUE(taps_match(taps, golden, {"", test_case().coverage, kTolerance}));
  EXPECT_TRUE(all_close(velocity, golden.expected("output"), kTolerance));
}

TEST_P(SpeechTransformerParity, StreamedInjectorsComeWithTheirBlocks) {
  if (kernels() == Kernels::kPlain) GTEST_SKIP() << "the composites know nothing of it";
  const GoldenFile golden = golden_of(test_case().file);
  SelfCommunicator alone;
  SpeechModel model(kernels(), alone, {.kind = ResidencyKind::kStreamed});
  const std::vector<Tensor> both = model.forward(golden, true);
  EXPECT_TRUE(all_close(both[0], golden.expected("output"), kTolerance));
  EXPECT_FALSE(all_close(both[1], both[0], 1e-3)) << "the branches hear the same";
}

TEST_P(SpeechTransformerParity, SeveralRanksThatDivideTheBlocksGiveTheSame) {
  if (kernels() == Kernels::kPlain) GTEST_SKIP() << "the composites know nothing of it";
  const GoldenFile golden = golden_of(test_case().file);
  SelfCommunicator alone;
  const WanConfig config = SpeechModel(kernels(), alone).config();
  for (int ranks = 2; ranks <= config.num_heads; ++ranks) {
    auto communicators = make_local_communicators(ranks);
    const int layers = static_cast<int>(config.num_layers);
    const auto shards = std::make_shared<BlockShards>(ranks, layers, layers);
    std::vector<Tensor> velocities(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < velocities.size(); ++rank)
      threads.emplace_back([&, rank] {
        Communicator& communicator = *communicators[rank];
        SpeechModel model(kernels(), communicator,
                          {ResidencyKind::kStreamed, {shards, static_cast<int>(rank)}});
        model.residency().set_schedule(model.blocks());
        model.residency().preload({});
        communicator.barrier();
        velocities[rank] = std::move(model.forward(golden, false).front());
        communicator.barrier();  // others may still copy from this rank's share
      });
    for (std::thread& thread : threads) thread.join();
    for (const Tensor& velocity : velocities)
      EXPECT_TRUE(all_close(velocity, golden.expected("output"), kTolerance)) << ranks << " ranks";
  }
}

// The bound of bf16_layers_test.cpp for layers: 8 bits of a value, rounded before every product.
TEST_P(SpeechTransformerParity, InBf16EveryLayerIsCloseToTheOfficialOne) {
  constexpr double kBf16Tolerance = 3e-2;
  const GoldenFile golden = golden_of(test_case().file);
  SelfCommunicator alone;
  SpeechModel model(kernels(), alone, {.weights = DType::kBF16});
  TapRecorder taps;
  model.listen(of_branch(taps.listener(), golden.integers("heard").front() != 0));
  const Tensor velocity = std::move(model.forward(golden, false).front());
  EXPECT_TRUE(taps_match(taps, golden, {"", test_case().coverage, kBf16Tolerance}));
  EXPECT_TRUE(all_close(velocity, golden.expected("output"), kBf16Tolerance));
  EXPECT_FALSE(all_close(velocity, golden.expected("output"), kTolerance)) << "nothing was rounded";
}

std::string speech_case_name(const ::testing::TestParamInfo<std::tuple<Case, Kernels>>& instance) {
  const auto& [test, kernels] = instance.param;
  return std::string(test.file) + "_" + kernels_name(kernels);
}

INSTANTIATE_TEST_SUITE_P(Models, SpeechTransformerParity,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(all_kernels())),
                         speech_case_name);

TEST(SpeechTransformer, AnInjectorsNormsAreTheOfficialOnesOfSmallValues) {
  const GoldenFile golden = golden_of("injector");
  SelfCommunicator alone;
  SpeechModel model(all_kernels().back(), alone);
  TapRecorder taps;
  model.listen(taps.listener());
  const Tensor x = golden.tensor("x");
  AudioTokens tokens{golden.tensor("tokens"), golden.tensor("global")};
  const std::int64_t frames = tokens.global.dim(0), frame_tokens = x.dim(0) / frames;
  AudioInjector injector(model.config(), std::move(tokens), frame_tokens, DType::kF32, "");
  Workspace workspace(model.context().backend.allocator());
  const Workspace::Scope scope(workspace);
  const TokenLayout layout = TokenLayout::video(frames, 1, frame_tokens, 1, 0);
  const WanActivations scratch = take_activations(workspace, model.config(), layout, DType::kF32);
  const BlockLease lease = model.residency().acquire({0, 0});
  const auto extra = lease.weights().subspan(weight_count<WanBlockWeights>(model.config()));
  injector.run(model.context(), {.block = 0, .extra_weights = extra, .layout = layout, .scratch = scratch},
               x);
  EXPECT_TRUE(all_close(taps.calls().at("audio_injector.injector_adain_layers.0").front(),
                        golden.expected("normed"), kTolerance));
  EXPECT_TRUE(
      all_close(taps.calls().at("audio_injector.injector.0").front(), golden.expected("added"), kTolerance));
}

TEST(SpeechTransformer, ASecondPassAllocatesNothingAndComputesNothingOfTheSoundAgain) {
  const GoldenFile golden = golden_of("later");
  SelfCommunicator alone;
  SpeechModel model(all_kernels().back(), alone);
  std::int64_t flops = 0;
  model.context().flops = &flops;
  model.forward(golden, true, 0);
  const std::int64_t before = std::exchange(flops, 0);
  const Tensor once = std::move(model.forward(golden, true).front());
  const int allocations = model.allocations();
  const std::int64_t first = std::exchange(flops, 0) - before;
  const Tensor twice = std::move(model.forward(golden, true, 2).front());
  EXPECT_EQ(model.allocations(), allocations);
  const std::int64_t second = flops - before - first;
  // Keys and values of the text, and of one row for its padding, in each block; of the sound in each injector, whose modulation has
  // two parts.
  const WanConfig& config = model.config();
  const std::int64_t frames = golden.tensor("latent").dim(1), dim = config.dim;
  const std::int64_t text = config.num_layers * 2 * (golden.tensor("context").dim(0) + 1);
  const auto injectors = static_cast<std::int64_t>(config.speech->inject_layers.size());
  const std::int64_t sound = injectors * (2 * frames * (config.speech->audio_tokens + 1) + 2 * frames);
  EXPECT_EQ(first - second, 2 * 2 * dim * dim * (text + sound)) << "of both branches";
  EXPECT_TRUE(all_close(twice, once, 0.0)) << "what is kept of the sound changed";
}

TEST(SpeechTransformer, InjectorsAreMemoryOfTheirBlocksAlone) {
  SelfCommunicator alone;
  SpeechModel model(all_kernels().back(), alone);
  const BlockLayout layout = wan_block_layout(model.config());
  const std::size_t plain = block_bytes(layout, DType::kF32, 1),
                    injected = block_bytes(layout, DType::kF32, 2);
  EXPECT_GT(injected, plain);
  EXPECT_EQ(injected, block_bytes(layout, DType::kF32));
  EXPECT_EQ(model.residency().bytes(), 2 * injected + plain);
}

TEST(SpeechTransformer, RefusesInputsThatDoNotBelongTogether) {
  const GoldenFile golden = golden_of("later");
  SelfCommunicator alone;
  SpeechModel model(all_kernels().back(), alone);
  const SpeechModel::Inputs inputs(golden, model);
  const auto make = [&](const SpeechInput& input) {
    SpeechConditioning(model.context(), model.transformer(), input, 1);
  };
  SpeechInput input = inputs.views();
  const Tensor narrow(DType::kF32, {15, 4});
  input.audio = narrow;
  expect_error(ErrorCode::kBadFile, "the audio encoder gives 15 features, the diffusion model takes 16",
               [&] { make(input); });
  input = inputs.views();
  const Tensor shorter(DType::kF32, {16, 18, 8, 8});
  input.motion = shorter;
  expect_error(ErrorCode::kInvalidArgument, "takes motion latents", [&] { make(input); });
  input = inputs.views();
  const Tensor poses(DType::kF32, {16, 3, 8, 8});
  input.pose = poses;
  expect_error(ErrorCode::kInvalidArgument, "takes pose latents", [&] { make(input); });
}

}  // namespace
}  // namespace wan::test::speech_transformer_test
