// A transformer block of A14B's size in bf16 against itself in f32, both on the GPU: tests/parity/bf16_layers_test.cpp does
// the same with small models, whose sums are short and whose heads no Hopper kernel takes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gpu/device_values.h"
#include "models/wan/block.h"
#include "nn/rotary_embedding.h"
#include "ops/copy.h"
#include "ops/linear_combination.h"
#include "support/tap_recorder.h"
#include "tasks/official_models.h"

namespace wan::test {
namespace {

// Relative RMS of what attention, cross-attention, feed-forward and the whole block give. bf16 keeps 8 bits: rounding is off
// by 1.7e-3 of a value (RMS), and weights, inputs and what lies between the products are rounded.
constexpr double kTolerance = 1e-2;
// Below it nothing was rounded.
constexpr double kBf16WasUsed = 2e-4;

const WanConfig& a14b() {
  static const WanConfig config = official_14b("t2v", 16);
  return config;
}
constexpr std::int64_t kFrames = 4, kRows = 16, kColumns = 17;  // of tokens; 17: no multiple of a tile
constexpr std::int64_t kPromptTokens = 60;

/// Random weights of a block in f32, on the device: matrices of deviation 0.02, which makes products of normed rows 1.4 large,
/// biases and modulation as small beside them as a trained model's, scales of norms about 1.
std::vector<Tensor> random_weights(GpuContext& gpu) {
  std::vector<Tensor> weights;
  std::uint64_t seed = 1;
  for (const WeightSpec& spec : wan_block_layout(a14b()).weights) {
    const bool matrix = spec.shape.rank() == 2;
    const bool scale = spec.shape.rank() == 1 && spec.name.ends_with("weight");
    weights.push_back(gpu.random(DType::kF32, spec.shape, seed++, matrix ? 0.02 : 0.1));
    if (!scale) continue;
    const Tensor ones(DType::kF32, spec.shape);
    std::fill_n(ones.as<float>(), ones.shape().elements(), 1.0f);
    linear_combination(gpu.ctx, {{{1.0, weights.back()}, {1.0, gpu.on_device(ones)}}, weights.back()});
  }
  return weights;
}

/// Matrices in bf16, the rest in f32, as a checkpoint is loaded.
std::vector<Tensor> rounded(GpuContext& gpu, const std::vector<Tensor>& weights) {
  std::vector<Tensor> made;
  for (const Tensor& weight : weights) {
    made.push_back(gpu.empty(weight.shape().rank() == 2 ? DType::kBF16 : DType::kF32, weight.shape()));
    copy(gpu.ctx, {weight, made.back()});
  }
  return made;
}

/// The block's taps and its output "block", on the host.
void run_block(GpuContext& gpu, const std::vector<Tensor>& weights, DType compute, TapRecorder& taps) {
  const TokenLayout layout = TokenLayout::video(kFrames, kRows, kColumns, 1, 0);
  const Tensor angles(DType::kF32, {layout.tokens(), a14b().head_dim() / 2, 2});
  fill_rope_table(layout.local_positions(), a14b().head_dim(), angles);
  const Tensor rope = gpu.on_device(angles);
  const Tensor time = gpu.random(DType::kF32, {1, 6, a14b().dim}, 101, 0.5);
  const Tensor x = gpu.random(DType::kF32, {layout.tokens(), a14b().dim}, 102);
  TextContext text;
  text.embedded = gpu.random(DType::kF32, {kPromptTokens + 1, a14b().dim}, 103);
  const Tensor bias(DType::kF32, {kPromptTokens + 1});
  std::fill_n(bias.as<float>(), kPromptTokens, 0.0f);
  bias.as<float>()[kPromptTokens] =
      static_cast<float>(std::log(static_cast<double>(a14b().text_len - kPromptTokens)));
  text.key_bias = gpu.on_device(bias);
  text.blocks.resize(1);

  std::vector<TensorView> views;
  for (const Tensor& weight : weights) views.push_back(weight);
  const Workspace::Scope scope(gpu.workspace);
  const WanPass pass{.config = a14b(),
                     .layout = layout,
                     .rope = rope,
                     .time_modulation = time,
                     .scratch = take_activations(gpu.workspace, a14b(), layout, compute)};
  gpu.ctx.taps = [&, record = taps.listener()](std::string_view name, const TensorView& output) {
    record(name, gpu.on_host(output));
  };
  WanBlock(pass, bind_weights<WanBlockWeights>({views}, a14b()), 0, "block").run(gpu.ctx, text, nullptr, x);
  gpu.ctx.taps = {};
}

TEST(GpuBf16Block, OfA14bIsCloseToF32) {
  GpuContext gpu;
  const std::vector<Tensor> weights = random_weights(gpu);
  TapRecorder exact;
  run_block(gpu, weights, DType::kF32, exact);
  TapRecorder lossy;
  run_block(gpu, rounded(gpu, weights), DType::kBF16, lossy);
  ASSERT_EQ(exact.calls().size(), 4u);
  for (const auto& [name, calls] : exact.calls()) {
    const Difference found = difference(lossy.calls().at(name).front(), calls.front());
    RecordProperty(name, std::to_string(found.relative_rms));
    EXPECT_TRUE(found.comparable) << name << ": " << found.why_not;
    EXPECT_LE(found.relative_rms, kTolerance) << name;
    EXPECT_GT(found.relative_rms, kBf16WasUsed) << name;
  }
}

}  // namespace
}  // namespace wan::test
