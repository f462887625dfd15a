#include "engine/model_checks.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "layouts/part.h"
#include "layouts/transformer_config.h"

namespace wan {

namespace {

/// A model's weights outside its blocks, and its blocks'.
template <typename Weights, typename Config>
void declare(const WeightScope& scope, const Config& config, const BlockLayout& layout) {
  for (const WeightSpec& spec : list_weights<Weights>(config)) scope.declare(spec);
  for (int block = 0; block < config.num_layers; ++block)
    for (const WeightSpec& spec : layout.block_weights(block)) scope.declare(spec);
}

/// transformers' config.json tells what the tensors do not.
void check_image_activation(const std::filesystem::path& folder) {
  constexpr int kDepth = 8;
  const std::filesystem::path path = folder / "config.json";
  if (!is_folder(folder) || !file_exists(path)) return;
  const nlohmann::json json = read_json_file(path, kDepth);
  const auto activation = JsonReader(json, path.string()).find("hidden_act");
  WAN_CHECK(!activation || activation->text() == "gelu", kUnsupported,
            "{}: \"hidden_act\" is not gelu, which the image encoder of Wan2.2-Animate-14B has",
            path.string());
}

WanConfig transformer_config(const std::filesystem::path& path, const WeightScope& scope) {
  const std::string type = recognize_part(scope.report().checkpoint()).model_type;
  if (const auto config = transformer_config_of(path, type))
    return complete_wan_config(parse_wan_config(config->json, config->where), config->where, scope);
  return is_folder(path) ? load_wan_config(path, scope) : wan_config_from_shapes(type, scope);
}

}  // namespace

void declare_transformer(const WanConfig& config, const WeightScope& scope) {
  declare<WanTransformerWeights>(scope, config, wan_block_layout(config));
  if (config.animate) MotionEncoder(*config.animate, scope.child("motion_encoder"), "");
}

void declare_text_encoder(const Umt5Config& config, const WeightScope& scope) {
  declare<Umt5EncoderWeights>(scope, config, umt5_block_layout(config));
}

WanConfig check_transformer(const std::filesystem::path& path, WeightReport& report) {
  const WeightScope scope = WeightScope::describing(report);
  WanConfig config = transformer_config(path, scope);
  declare_transformer(config, scope);
  return config;
}

Umt5Config check_text_encoder(WeightReport& report) {
  const WeightScope scope = WeightScope::describing(report);
  const Umt5Config config = umt5_config(scope);
  declare_text_encoder(config, scope);
  return config;
}

Wav2Vec2Config check_audio_encoder(const std::filesystem::path& folder, WeightReport& report) {
  const WeightScope top = WeightScope::describing(report);
  Wav2Vec2Config config = read_wav2vec2_config(folder);
  const WeightScope encoder = wav2vec2_scope(top);
  declare<Wav2Vec2OuterWeights>(encoder, config, wav2vec2_block_layout(config));
  load_convolutions(encoder, config);
  load_positions(encoder, config);
  skip_unneeded(top);
  return config;
}

ClipConfig check_image_encoder(WeightReport& report) {
  check_image_activation(report.checkpoint().path());
  const WeightScope top = WeightScope::describing(report);
  const WeightScope visual = top.child("visual");
  const ClipConfig config = clip_config(visual);
  declare<ClipOuterWeights>(visual, config, clip_block_layout(config));
  skip_unneeded_clip(top);
  return config;
}

void throw_findings(std::span<const WeightReport* const> reports) {
  std::string findings;
  for (const WeightReport* report : reports) {
    if (report->clean()) continue;
    if (!findings.empty()) findings += "\n  ";
    findings += report->describe();
  }
  WAN_CHECK(findings.empty(), kBadFile, "{}", findings);
}

}  // namespace wan
