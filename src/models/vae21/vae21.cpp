#include "models/vae21/vae21.h"

#include <string>
#include <utility>

#include "models/vae21/latent_statistics.h"
#include "models/video_vae/resample.h"
#include "models/video_vae/residual_block.h"

namespace wan {

namespace {

Vae21Config checked_config(const WeightScope& scope, const VaePrecision& precision) {
  check_precision("vae21", precision);
  return vae21_config(scope);
}

/// Between levels `level` and `level` + 1.
TimeResampling time_resampling(const Vae21Config& config, int level) {
  return config.levels.halves_time[static_cast<std::size_t>(level)] ? TimeResampling::kFactor2
                                                                    : TimeResampling::kNone;
}

VaeEncoder load_encoder(const WeightScope& scope, const Vae21Config& config) {
  StageList stages;
  int index = 0;
  const auto next = [&] { return scope.child("encoder.downsamples").child(std::to_string(index++)); };
  std::int64_t channels = config.dim;
  for (int level = 0; level < config.levels.count(); ++level) {
    const std::int64_t out = config.channels(level);
    for (int block = 0; block < config.levels.res_blocks; ++block) {
      stages.add<ResidualBlock>(next(), channels, out);
      channels = out;
    }
    if (level + 1 < config.levels.count())
      stages.add<Downsample>(next(), channels, time_resampling(config, level));
  }
  return {scope,
          {.first_channels = config.dim, .last_channels = channels},
          vae21_latent_statistics(config.z_dim),
          std::move(stages)};
}

VaeDecoder load_decoder(const WeightScope& scope, const Vae21Config& config) {
  StageList stages;
  int index = 0;
  const auto next = [&] { return scope.child("decoder.upsamples").child(std::to_string(index++)); };
  const std::int64_t first = config.channels(config.levels.count() - 1);
  std::int64_t channels = first;
  for (int level = config.levels.count() - 1; level >= 0; --level) {
    const std::int64_t out = config.channels(level);
    for (int block = 0; block < config.levels.res_blocks + 1; ++block) {
      stages.add<ResidualBlock>(next(), channels, out);
      channels = out;
    }
    if (level == 0) break;
    stages.add<Upsample>(next(), channels, channels / 2, time_resampling(config, level - 1));
    channels /= 2;
  }
  return {scope,
          {.first_channels = first, .last_channels = config.channels(0)},
          vae21_latent_statistics(config.z_dim),
          std::move(stages)};
}

}  // namespace

Vae21::Vae21(const WeightScope& scope, const VaePrecision& precision)
    : Vae21(scope, precision, checked_config(scope, precision)) {}

Vae21::Vae21(const WeightScope& scope, const VaePrecision& precision, const Vae21Config& config)
    // Braces: the encoder is asked for first, so that a report lists findings in one order.
    : StreamedVae{config.geometry(), precision, load_encoder(scope.in_precision(precision.compute), config),
                  load_decoder(scope.in_precision(precision.compute), config)},
      config_(config) {}

}  // namespace wan
