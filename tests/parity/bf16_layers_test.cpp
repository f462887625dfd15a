// Every layer in bf16 against itself in f32, which other tests hold to the official code: each given the same input, so
// that what is measured is the layer's own rounding and not what those before it left.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "models/umt5/umt5_encoder.h"
#include "models/wan/transformer.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/tap_recorder.h"
#include "support/vae_model.h"
#include "weights/convert.h"

namespace wan::test::bf16_layers_test {
namespace {

// Relative RMS of a layer's output. bf16 keeps 8 bits, so that rounding a value is off by 1.7e-3 of it (RMS, where values of
// a binade are equally likely). A layer rounds its weights, its input, and what lies between its products: 3e-3 a product,
// and a layer has up to four on end.
constexpr double kTolerance = 1e-2;
// Cross-attention to three tokens and the padding row, with large queries and keys: nothing averages, and the sum is small
// beside its terms. Rounded activations are off by 1.7e-2 there, a thirtieth of that in the residual stream.
constexpr double kFewKeys = 2.5e-2;
// A residual block of the random VAE 2.2 is two convolutions of several hundred terms between norms: 9.0e-3 where a sum is
// rounded once, 9.5e-3 on the emulated kernels; cuDNN rounds a convolution before the residual is added.
constexpr double kVae22 = 1.5e-2;
// Below it nothing was rounded: f32 differs by 1e-6 from f32.
constexpr double kBf16WasUsed = 2e-4;

/// What is compared and then replaced by f32's values, so that the next begins with them.
enum class Layers {
  kBlocks,  // embeddings, whole transformer blocks, the head
  kParts,   // attention and feed-forward inside the blocks too
};

bool is_part_of_block(std::string_view name) {
  const std::size_t number = name.find("blocks.");
  return number != std::string_view::npos && name.find('.', number + 7) != std::string_view::npos;
}

/// Listens to a run in bf16: compares each layer's output with that of a run in f32, and puts the latter in its place.
class LockStep {
 public:
  LockStep(const TapRecorder& exact, Layers layers) : exact_(exact), layers_(layers) {}

  Taps listener() {
    return [this](std::string_view name, const TensorView& output) { compare(std::string(name), output); };
  }

  /// Passes where every layer was shown as often as in f32 and is within the tolerance, and some are far enough for bf16.
  ::testing::AssertionResult within(double tolerance) const {
    std::string problems;
    double largest = 0.0;
    std::string where;
    for (const auto& [name, errors] : errors_) {
      if (errors.size() != exact_.calls().at(name).size())
        problems += "\n  " + name + ": not as often as in f32";
      const double worst = *std::max_element(errors.begin(), errors.end());
      if (!(worst <= tolerance)) problems += "\n  " + name + ": " + std::to_string(worst);
      if (worst >= largest) {
        largest = worst;
        where = name;
      }
    }
    for (const auto& [name, calls] : exact_.calls())
      if (looks_at(name) && !errors_.contains(name)) problems += "\n  " + name + ": never shown";
    ::testing::Test::RecordProperty("largest", where + " " + std::to_string(largest));
    if (largest < kBf16WasUsed) problems += "\n  bf16 was not used: at most " + std::to_string(largest);
    if (problems.empty()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << "relative RMS from f32, more than " << tolerance << ":" << problems;
  }

 private:
  bool looks_at(const std::string& name) const {
    return layers_ == Layers::kParts || !is_part_of_block(name);
  }

  void compare(const std::string& name, const TensorView& output) {
    if (!looks_at(name)) return;
    std::vector<double>& errors = errors_[name];
    const auto expected = exact_.calls().find(name);
    ASSERT_TRUE(expected != exact_.calls().end() && errors.size() < expected->second.size()) << name;
    const Tensor& value = expected->second[errors.size()];
    const Difference found = difference(output, value);
    ASSERT_TRUE(found.comparable) << name << ": " << found.why_not;
    errors.push_back(found.relative_rms);
    convert(value, output, {.threads = 1});
  }

  const TapRecorder& exact_;
  Layers layers_;
  std::map<std::string, std::vector<double>> errors_;
};

struct Case {
  const char* model;  // folder of tests/golden/models
  const char* file;
  double parts = kTolerance;  // inside a block
};

/// What activations are in where weights are bf16: the CPU leaves them in f32.
DType activations(Kernels kernels, DType weights) {
  return kernels == Kernels::kCpu ? DType::kF32 : weights;
}

/// A forward pass of a golden file's case on weights of this dtype, under these taps.
void run_transformer(const Case& test, Kernels kernels, DType weights, Taps taps) {
  const std::filesystem::path folder = golden_path(std::string("models/") + test.model + "/model");
  const GoldenFile golden(
      golden_path(std::string("models/") + test.model + "/" + test.file + ".safetensors"));
  WeightReport report(Checkpoint::open(folder), "transformer");
  const WeightScope scope(report, {.compute_dtype = weights});
  const WanConfig config = load_wan_config(folder, scope);
  const auto residency =
      make_residency({{scope, wan_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const WanTransformer transformer(config, scope, *residency, 0, activations(kernels, weights), "model.");
  report.check();

  const auto backend = make_backend(kernels);
  Workspace workspace(backend->allocator());
  SelfCommunicator alone;
  ExecContext context{
      .backend = *backend, .workspace = workspace, .communicator = alone, .taps = std::move(taps)};
  TextContext text;
  transformer.embed_text(context, golden.tensor("context"), text);
  const Tensor latent = golden.tensor("latent");
  // One timestep, or one a latent frame, where 0 marks those that are given.
  const auto times = golden.integers(golden.has("timestep") ? "timestep" : "timesteps");
  const auto given = golden.has("timestep") ? 0 : std::count(times.begin(), times.end(), 0);
  const double timesteps[] = {static_cast<double>(times.back()), 0.0};
  const TokenLayout layout =
      TokenLayout::video(latent.dim(1) / config.patch[0], latent.dim(2) / config.patch[1],
                         latent.dim(3) / config.patch[2], 1, 0, given);
  const Tensor rope = transformer.make_rope_table(context, layout);
  const Tensor channels = golden.has("y") ? golden.tensor("y") : Tensor();
  Conditioning conditioning;
  if (!channels.empty()) conditioning.channels = channels;
  const Tensor velocity(DType::kF32, latent.shape());
  const GuidanceBranch branch{&text, &conditioning, velocity};
  transformer.forward(context, {latent, timesteps, layout, rope}, {&branch, 1});
}

/// The same of the text encoder, whose activations are f32 everywhere.
void run_text_encoder(const Case& test, Kernels kernels, DType weights, Taps taps) {
  const std::filesystem::path folder = golden_path(std::string("models/") + test.model);
  const GoldenFile golden(folder / (std::string(test.file) + ".safetensors"));
  WeightReport report(Checkpoint::open(folder / "encoder.pth"), "text encoder");
  const WeightScope scope(report, {.compute_dtype = weights});
  const Umt5Config config = umt5_config(scope);
  const auto residency =
      make_residency({{scope, umt5_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const Umt5Encoder encoder(config, scope, *residency, 0, "text_encoder.");
  report.check();

  const auto backend = make_backend(kernels);
  Workspace workspace(backend->allocator());
  SelfCommunicator alone;
  ExecContext context{
      .backend = *backend, .workspace = workspace, .communicator = alone, .taps = std::move(taps)};
  const std::vector<std::int64_t> ids = golden.integers("ids");
  const Tensor output(DType::kF32, {static_cast<std::int64_t>(ids.size()), config.dim});
  encoder.encode(context, ids, output);
}

class TransformerInBf16 : public ::testing::TestWithParam<std::tuple<Case, Kernels>> {};

TEST_P(TransformerInBf16, EveryLayerIsCloseToF32) {
  const auto& [test, kernels] = GetParam();
  TapRecorder exact;
  run_transformer(test, kernels, DType::kF32, exact.listener());
  for (const Layers layers : {Layers::kBlocks, Layers::kParts}) {
    LockStep lossy(exact, layers);
    run_transformer(test, kernels, DType::kBF16, lossy.listener());
    EXPECT_TRUE(lossy.within(layers == Layers::kParts ? test.parts : kTolerance));
  }
}

class TextEncoderInBf16 : public ::testing::TestWithParam<std::tuple<Case, Kernels>> {};

TEST_P(TextEncoderInBf16, EveryLayerIsCloseToF32) {
  const auto& [test, kernels] = GetParam();
  TapRecorder exact;
  run_text_encoder(test, kernels, DType::kF32, exact.listener());
  for (const Layers layers : {Layers::kBlocks, Layers::kParts}) {
    LockStep lossy(exact, layers);
    run_text_encoder(test, kernels, DType::kBF16, lossy.listener());
    EXPECT_TRUE(lossy.within(kTolerance));
  }
}

class VaeLayersInBf16 : public ::testing::TestWithParam<std::tuple<const char*, Kernels>> {};

TEST_P(VaeLayersInBf16, EveryLayerIsCloseToF32) {
  const auto& [name, kernels] = GetParam();
  const GoldenFile golden = vae_golden(name);
  VaeModel f32(name, kernels);
  VaeModel bf16(name, kernels, {.compute = DType::kBF16});
  const Tensor latents = golden.tensor("latents");
  const Tensor encoded = golden.tensor("encoded");
  const Tensor frames = golden.tensor("frames");
  const auto run = [&](VaeModel& model, bool decoding, Taps taps) {
    model.context().taps = std::move(taps);
    if (decoding) {
      model.decode(latents, f32.plan_decode(latents));
    } else {
      model.encode(frames, model.vae().geometry().frames(encoded.dim(1)), f32.plan_encode(encoded));
    }
  };
  for (const bool decoding : {true, false}) {
    TapRecorder exact;
    run(f32, decoding, exact.listener());
    LockStep lossy(exact, Layers::kParts);
    run(bf16, decoding, lossy.listener());
    EXPECT_TRUE(lossy.within(std::string_view(name).starts_with("vae22/") ? kVae22 : kTolerance));
  }
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Case, Kernels>>& instance) {
  const auto& [test, kernels] = instance.param;
  return std::string(test.model) + "_" + test.file + "_" + kernels_name(kernels);
}

INSTANTIATE_TEST_SUITE_P(
    Models, TransformerInBf16,
    ::testing::Combine(::testing::Values(Case{"dit_h2_d24", "f9"}, Case{"dit_h4_d16", "t1000", kFewKeys},
                                         Case{"dit_h2_d32", "f4"}, Case{"dit_h6_d10", "f7"},
                                         Case{"dit_h1_d128", "f3"}, Case{"dit_i2v_h2_d20", "f3"},
                                         Case{"dit_ti2v_h3_d12", "pinned"}),
                       ::testing::ValuesIn(all_kernels())),
    case_name);
INSTANTIATE_TEST_SUITE_P(Models, TextEncoderInBf16,
                         ::testing::Combine(::testing::Values(Case{"umt5_h4_d8", "n7"},
                                                              Case{"umt5_h4_d8", "n200"},
                                                              Case{"umt5_h3_d12", "n9"}),
                                            ::testing::ValuesIn(all_kernels())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Models, VaeLayersInBf16,
                         ::testing::Combine(::testing::Values("vae21/levels4", "vae22/levels4"),
                                            ::testing::ValuesIn(all_kernels())),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param);
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name + "_" + kernels_name(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace wan::test::bf16_layers_test
