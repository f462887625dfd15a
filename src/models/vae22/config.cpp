#include "models/vae22/config.h"

#include <algorithm>
#include <string>

namespace wan {

namespace {

constexpr VaeFile kFile{.model = "vae22", .name = "Wan2.2_VAE.pth"};

/// The layers inside the encoder's blocks, in the order in which they are walked.
std::vector<WeightScope> encoder_layers(const WeightScope& scope) {
  const WeightScope blocks = scope.child("encoder.downsamples");
  std::vector<WeightScope> layers;
  // One more than there can be, where the file has more: read_levels() says so.
  const int count = std::min(count_layers(blocks), VaeLevels::kMost + 1);
  for (int block = 0; block < count; ++block) {
    const WeightScope inside = blocks.child(std::to_string(block)).child("downsamples");
    const int inner = count_layers(inside);
    for (int i = 0; i < inner; ++i) layers.push_back(inside.child(std::to_string(i)));
  }
  return layers;
}

/// Both shortcuts of a level must divide their channels.
void check_shortcuts(const Vae22Config& config) {
  for (int level = 0; level < config.levels.count(); ++level) {
    const std::int64_t cell = config.factors(level).cell();
    const std::int64_t finer = level == 0 ? config.encoder_dim : config.encoder_channels(level - 1);
    const std::int64_t coarser = config.encoder_channels(level);
    WAN_CHECK(
        finer * cell % coarser == 0, kBadFile,
        "[vae22] expected {} channels of {} values to divide into {} (encoder.downsamples.{}); the file is "
        "damaged or of another model: use the {} of the checkpoint",
        finer, cell, coarser, level, kFile.name);
  }
  for (int level = config.levels.count() - 1; level > 0; --level) {
    const bool first = level == config.levels.count() - 1;
    const std::int64_t cell = config.factors(level - 1).cell();
    const std::int64_t coarser = config.decoder_channels(first ? level : level + 1);
    const std::int64_t finer = config.decoder_channels(level);
    WAN_CHECK(
        finer * cell % coarser == 0, kBadFile,
        "[vae22] expected {} channels to repeat into {} of {} values (decoder.upsamples.{}); the file is "
        "damaged or of another model: use the {} of the checkpoint",
        coarser, finer, cell, config.levels.count() - 1 - level, kFile.name);
  }
}

}  // namespace

bool looks_like_vae22(const Checkpoint& checkpoint) {
  return std::any_of(checkpoint.entries().begin(), checkpoint.entries().end(), [](const TensorEntry& entry) {
    return entry.name.starts_with("encoder.downsamples.0.downsamples.");
  });
}

ResampleFactors Vae22Config::factors(int level) const {
  if (level + 1 == levels.count()) return {};
  return {.time = levels.halves_time[static_cast<std::size_t>(level)] ? 2 : 1, .space = 2};
}

Vae22Config vae22_config(const WeightScope& scope) {
  Vae22Config config;
  config.z_dim = require_shape(scope, kFile, "decoder.conv1.weight", 5)[1];
  config.encoder_dim = require_shape(scope, kFile, "encoder.conv1.weight", 5)[0];
  WAN_CHECK(config.encoder_dim > 0 && config.z_dim > 0, kBadFile,
            "[vae22] {} has convolutions without channels", scope.report().checkpoint().path());
  config.levels = read_levels(encoder_layers(scope), kFile, config.encoder_dim);
  const std::int64_t last_channels = require_shape(scope, kFile, "decoder.head.2.weight", 5)[1];
  const std::int64_t multiplier = config.levels.multipliers.front();
  WAN_CHECK(last_channels > 0 && last_channels % multiplier == 0, kBadFile,
            "[vae22] expected decoder.head.2.weight to have a multiple of {} channels, got {}; the file is "
            "damaged or of "
            "another model: use the {} of the checkpoint",
            multiplier, last_channels, kFile.name);
  config.decoder_dim = last_channels / multiplier;
  check_shortcuts(config);
  return config;
}

}  // namespace wan
