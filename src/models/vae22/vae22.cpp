#include "models/vae22/vae22.h"

#include <string>
#include <utility>

#include "models/vae22/blocks.h"
#include "models/vae22/latent_statistics.h"

namespace wan {

namespace {

Vae22Config checked_config(const WeightScope& scope, const VaePrecision& precision) {
  check_precision("vae22", precision);
  return vae22_config(scope);
}

VaeEncoder load_encoder(const WeightScope& scope, const Vae22Config& config) {
  StageList stages;
  std::int64_t channels = config.encoder_dim;
  for (int level = 0; level < config.levels.count(); ++level) {
    const std::int64_t out = config.encoder_channels(level);
    stages.add<DownBlock>(scope.child("encoder.downsamples").child(std::to_string(level)),
                          BlockShape{.in = channels,
                                     .out = out,
                                     .res_blocks = config.levels.res_blocks,
                                     .factors = config.factors(level)});
    channels = out;
  }
  return {scope,
          {.first_channels = config.encoder_dim, .last_channels = channels, .patch = Vae22Config::kPatch},
          vae22_latent_statistics(config.z_dim),
          std::move(stages)};
}

VaeDecoder load_decoder(const WeightScope& scope, const Vae22Config& config) {
  StageList stages;
  const int last = config.levels.count() - 1;
  const std::int64_t first_channels = config.decoder_channels(last);
  std::int64_t channels = first_channels;
  for (int level = last; level >= 0; --level) {
    const WeightScope block = scope.child("decoder.upsamples").child(std::to_string(last - level));
    BlockShape shape{.in = channels,
                     .out = config.decoder_channels(level),
                     .res_blocks = config.levels.res_blocks + 1,
                     .factors = {}};
    channels = shape.out;
    if (level > 0) {
      shape.factors = config.factors(level - 1);
      stages.add<UpBlock>(block, shape);
    } else {
      add_residual_blocks(stages, block.child("upsamples"), shape);
    }
  }
  return {scope,
          {.first_channels = first_channels, .last_channels = channels, .patch = Vae22Config::kPatch},
          vae22_latent_statistics(config.z_dim),
          std::move(stages)};
}

}  // namespace

Vae22::Vae22(const WeightScope& scope, const VaePrecision& precision)
    : Vae22(scope, precision, checked_config(scope, precision)) {}

Vae22::Vae22(const WeightScope& scope, const VaePrecision& precision, const Vae22Config& config)
    // Braces: the encoder is asked for first, so that a report lists findings in one order.
    : StreamedVae{config.geometry(), precision, load_encoder(scope.in_precision(precision.compute), config),
                  load_decoder(scope.in_precision(precision.compute), config)},
      config_(config) {}

}  // namespace wan
