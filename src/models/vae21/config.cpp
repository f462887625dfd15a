#include "models/vae21/config.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <string>

namespace wan {

namespace {

constexpr std::size_t kMostLevels = 8;  // a stride of 128
constexpr int kMostLayers = 1000;       // of hostile files

Shape require(const WeightScope& scope, const char* name, int rank) {
  const std::optional<Shape> shape = scope.shape_of(name);
  WAN_CHECK(
      shape && shape->rank() == rank, kBadFile,
      "[vae21] expected a tensor {} of {} dimensions in {}, got {}; use the Wan2.1_VAE.pth of the checkpoint",
      scope.full_name(name), rank, scope.report().checkpoint().path(),
      shape ? shape->to_string() : std::string("none"));
  return *shape;
}

/// One more than the largest N of tensors "encoder.downsamples.N...." (a layer may lack any one tensor and is still
/// seen, so that the report names just that one).
int count_layers(const WeightScope& scope) {
  const std::string prefix = scope.full_name("encoder.downsamples.");
  int count = 0;
  for (const TensorEntry& entry : scope.report().checkpoint().entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    int index = -1;
    const char* const digits = entry.name.data() + prefix.size();
    std::from_chars(digits, entry.name.data() + entry.name.size(), index);
    count = std::max(count, std::min(index, kMostLayers) + 1);
  }
  return count;
}

bool has_any(const WeightScope& layer, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return layer.has(name); });
}

/// Channels of a residual block's output in units of dim.
std::int64_t multiplier(const WeightScope& layer, std::int64_t dim) {
  for (const char* name : {"residual.2.weight", "residual.6.weight", "residual.3.gamma", "residual.2.bias"}) {
    const std::optional<Shape> shape = layer.shape_of(name);
    if (!shape || shape->rank() == 0) continue;
    const std::int64_t channels = (*shape)[0];
    WAN_CHECK(
        channels > 0 && channels % dim == 0, kBadFile,
        "[vae21] expected {} to have a multiple of {} channels (encoder.conv1.weight), got {}; the file is "
        "damaged or of another model",
        layer.full_name(name), dim, channels);
    return channels / dim;
  }
  fail(ErrorCode::kBadFile,
       "[vae21] expected a residual block or a resampling layer at {} in {}, got neither; the file is "
       "damaged or of "
       "another model",
       layer.prefix(), layer.report().checkpoint().path());
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
  const int layers = count_layers(scope);
  int blocks = 0;  // of the level so far
  for (int i = 0; i < layers; ++i) {
    const WeightScope layer = scope.child("encoder.downsamples").child(std::to_string(i));
    const bool time = has_any(layer, {"time_conv.weight", "time_conv.bias"});
    if (time || has_any(layer, {"resample.1.weight", "resample.1.bias"})) {
      config.halves_time.push_back(time);
      blocks = 0;
    } else {
      if (blocks == 0) config.multipliers.push_back(multiplier(layer, config.dim));
      config.res_blocks = std::max(config.res_blocks, ++blocks);
    }
  }
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
