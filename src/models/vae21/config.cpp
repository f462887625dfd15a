#include "models/vae21/config.h"

#include <algorithm>

namespace wan {

namespace {

Shape require(const WeightScope& scope, const char* name, int rank) {
  const std::optional<Shape> shape = scope.shape_of(name);
  WAN_CHECK(
      shape && shape->rank() == rank, kBadFile,
      "[vae21] expected a tensor {} of {} dimensions in {}, got {}; use the Wan2.1_VAE.pth of the checkpoint",
      scope.full_name(name), rank, scope.report().checkpoint().path(),
      shape ? shape->to_string() : std::string("none"));
  return *shape;
}

/// Channels of a level in units of dim.
std::int64_t multiplier(const WeightScope& layer, std::int64_t dim) {
  const std::int64_t channels = require(layer, "residual.2.weight", 5)[0];
  WAN_CHECK(
      channels > 0 && channels % dim == 0, kBadFile,
      "[vae21] expected {} to have a multiple of {} channels (encoder.conv1.weight), got {}; the file is "
      "damaged or of another model",
      layer.full_name("residual.2.weight"), dim, channels);
  return channels / dim;
}

}  // namespace

VaeGeometry Vae21Config::geometry() const {
  const auto time_levels = std::count(halves_time.begin(), halves_time.end(), true);
  return {.z_dim = z_dim, .temporal_stride = 1 << time_levels, .spatial_stride = 1 << (levels() - 1)};
}

Vae21Config vae21_config(const WeightScope& scope) {
  Vae21Config config;
  config.z_dim = require(scope, "decoder.conv1.weight", 5)[1];
  config.dim = require(scope, "encoder.conv1.weight", 5)[0];
  WAN_CHECK(config.dim > 0 && config.z_dim > 0, kBadFile, "[vae21] {} has convolutions without channels",
            scope.report().checkpoint().path());
  const int layers = scope.count_children("encoder.downsamples");
  int blocks = 0;  // of the level so far
  for (int i = 0; i < layers; ++i) {
    const WeightScope layer = scope.child("encoder.downsamples").child(std::to_string(i));
    if (layer.has("resample.1.weight")) {
      config.halves_time.push_back(layer.has("time_conv.weight"));
      blocks = 0;
    } else {
      if (blocks == 0) config.multipliers.push_back(multiplier(layer, config.dim));
      config.res_blocks = std::max(config.res_blocks, ++blocks);
    }
  }
  constexpr std::size_t kMostLevels = 8;  // a stride of 128
  WAN_CHECK(
      !config.multipliers.empty() && config.multipliers.size() <= kMostLevels &&
          config.halves_time.size() + 1 == config.multipliers.size(),
      kBadFile,
      "[vae21] expected 1 to {} levels of residual blocks with a resampling layer between each two below "
      "encoder.downsamples in {}, got {} levels and {} resampling layers; the file is damaged or of another "
      "model",
      kMostLevels, scope.report().checkpoint().path(), config.multipliers.size(), config.halves_time.size());
  return config;
}

}  // namespace wan
