#include "models/wav2vec2/weights.h"

#include <array>
#include <cmath>

#include "weights/convert.h"

namespace wan {

using enum WeightDType;

namespace {

/// A weight of a convolution in time, [out, in, kernel] -> [out, 1, 1, kernel, in].
TensorView taps_before_channels(const TensorView& weight) {
  return weight.reshape({weight.dim(0), weight.dim(1), 1, 1, weight.dim(2)}).permute({0, 2, 3, 4, 1});
}

/// |v| of each tap over both channel dimensions; v [out, in, kernel].
std::vector<double> norms_of_taps(const TensorView& v) {
  const std::int64_t taps = v.dim(2);
  std::vector<double> norms(static_cast<std::size_t>(taps));
  const float* value = v.as<float>();
  for (std::int64_t i = 0; i < v.elements(); ++i)
    norms[static_cast<std::size_t>(i % taps)] +=
        static_cast<double>(value[i]) * static_cast<double>(value[i]);
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

}  // namespace

void Wav2Vec2LayerWeights::visit(const WeightVisitor& at, const Wav2Vec2Config& config) {
  const auto linear = [&](const char* name, Linear& weights, std::int64_t in, std::int64_t out) {
    weights.visit(at.child(name), {.in = in, .out = out, .dtype = kFloat32});
  };
  attention_norm.visit(at.child("layer_norm"), config.dim);
  linear("attention.q_proj", query, config.dim, config.dim);
  linear("attention.k_proj", key, config.dim, config.dim);
  linear("attention.v_proj", value, config.dim, config.dim);
  linear("attention.out_proj", output, config.dim, config.dim);
  ffn_norm.visit(at.child("final_layer_norm"), config.dim);
  linear("feed_forward.intermediate_dense", ffn_in, config.dim, config.dim_ffn);
  linear("feed_forward.output_dense", ffn_out, config.dim_ffn, config.dim);
}

WeightScope wav2vec2_scope(const WeightScope& top) {
  return top.has("wav2vec2.feature_projection.projection.weight") ? top.child("wav2vec2") : top;
}

BlockLayout wav2vec2_block_layout(const Wav2Vec2Config& config) {
  return {.prefix = "encoder.layers.{i}.", .weights = list_weights<Wav2Vec2LayerWeights>(config)};
}

void Wav2Vec2OuterWeights::visit(const WeightVisitor& at, const Wav2Vec2Config& config) {
  convolution_norms.resize(config.convolutions.size());
  for (std::size_t i = 0; i < convolution_norms.size(); ++i)
    convolution_norms[i].visit(at.child("feature_extractor.conv_layers." + std::to_string(i) + ".layer_norm"),
                               config.convolutions[i].channels);
  const std::int64_t channels = config.convolutions.back().channels;
  projection_norm.visit(at.child("feature_projection.layer_norm"), channels);
  projection.visit(at.child("feature_projection.projection"),
                   {.in = channels, .out = config.dim, .dtype = kFloat32});
  norm.visit(at.child("encoder.layer_norm"), config.dim);
}

std::vector<Convolution1d> load_convolutions(const WeightScope& encoder, const Wav2Vec2Config& config) {
  std::vector<Convolution1d> convolutions;
  std::int64_t in = 1;
  for (std::size_t i = 0; i < config.convolutions.size(); ++i) {
    const auto& [channels, kernel, stride] = config.convolutions[i];
    const WeightScope scope = encoder.child("feature_extractor.conv_layers." + std::to_string(i) + ".conv");
    const Tensor stored = scope.on_host().load("weight", {channels, in, kernel}, kFloat32);
    Convolution1d convolution{{}, scope.load("bias", {channels}, kFloat32)};
    if (!stored.empty())
      convolution.weight = scope.make(DType::kF32, {channels, 1, 1, kernel, in}, [&](const TensorView& made) {
        convert(taps_before_channels(stored), made);
      });
    convolutions.push_back(std::move(convolution));
    in = channels;
  }
  return convolutions;
}

PositionalConvolution load_positions(const WeightScope& encoder, const Wav2Vec2Config& config) {
  const WeightScope scope = encoder.child("encoder.pos_conv_embed.conv");
  const bool is_new = scope.has("parametrizations.weight.original1");
  const std::int64_t kernel = config.position_kernel;
  const std::int64_t in = config.dim / config.position_groups;
  const WeightScope host = scope.on_host();
  const Tensor g =
      host.load(is_new ? "parametrizations.weight.original0" : "weight_g", {1, 1, kernel}, kFloat32);
  const Tensor v = host.load(is_new ? "parametrizations.weight.original1" : "weight_v",
                             {config.dim, in, kernel}, kFloat32);
  PositionalConvolution positions{{}, scope.load("bias", {config.dim}, kFloat32)};
  if (g.empty() || v.empty()) return positions;
  positions.weight = scope.make(DType::kF32, {config.dim, 1, 1, kernel, in}, [&](const TensorView& made) {
    const std::vector<double> norms = norms_of_taps(v);
    const Tensor weight(DType::kF32, v.shape());
    for (std::int64_t i = 0; i < v.elements(); ++i) {
      const std::int64_t tap = i % kernel;
      weight.as<float>()[i] = static_cast<float>(v.as<float>()[i] * static_cast<double>(g.as<float>()[tap]) /
                                                 norms[static_cast<std::size_t>(tap)]);
    }
    convert(taps_before_channels(weight), made);
  });
  return positions;
}

void skip_unneeded(const WeightScope& top) {
  // The words' head, the masks of training, and the quantizer of training without words.
  static constexpr std::array<const char*, 10> kNames = {"lm_head.weight",
                                                         "lm_head.bias",
                                                         "masked_spec_embed",
                                                         "quantizer.codevectors",
                                                         "quantizer.weight_proj.weight",
                                                         "quantizer.weight_proj.bias",
                                                         "project_q.weight",
                                                         "project_q.bias",
                                                         "project_hid.weight",
                                                         "project_hid.bias"};
  for (const WeightScope& scope : {top, wav2vec2_scope(top)})
    for (const char* name : kNames)
      if (const auto shape = scope.shape_of(name)) scope.declare({.name = name, .shape = *shape});
}

}  // namespace wan
