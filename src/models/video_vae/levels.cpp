#include "models/video_vae/levels.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <string>

namespace wan {

namespace {

constexpr int kMostLayers = 1000;  // of hostile files

bool has_any(const WeightScope& layer, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return layer.has(name); });
}

/// Channels of a residual block's output in units of dim.
std::int64_t multiplier(const WeightScope& layer, const VaeFile& file, std::int64_t dim) {
  for (const char* name : {"residual.2.weight", "residual.6.weight", "residual.3.gamma", "residual.2.bias"}) {
    const std::optional<Shape> shape = layer.shape_of(name);
    if (!shape || shape->rank() == 0) continue;
    const std::int64_t channels = (*shape)[0];
    WAN_CHECK(
        channels > 0 && channels % dim == 0, kBadFile,
        "[{}] expected {} to have a multiple of {} channels (encoder.conv1.weight), got {}; the file is "
        "damaged or of another model: use the {} of the checkpoint",
        file.model, layer.full_name(name), dim, channels, file.name);
    return channels / dim;
  }
  fail(
      ErrorCode::kBadFile,
      "[{}] expected a residual block or a resampling layer at {} in {}, got neither; the file is damaged or "
      "of another model: use the {} of the checkpoint",
      file.model, layer.prefix(), layer.report().checkpoint().path(), file.name);
}

}  // namespace

int VaeLevels::temporal_stride() const {
  return 1 << std::count(halves_time.begin(), halves_time.end(), true);
}

Shape require_shape(const WeightScope& scope, const VaeFile& file, const char* name, int rank) {
  return scope.require_shape(name, rank, fmt::format("use the {} of the checkpoint", file.name));
}

int count_layers(const WeightScope& scope) {
  int count = 0;
  for (const TensorEntry& entry : scope.report().checkpoint().entries()) {
    if (!entry.name.starts_with(scope.prefix())) continue;
    int index = -1;
    const char* const digits = entry.name.data() + scope.prefix().size();
    std::from_chars(digits, entry.name.data() + entry.name.size(), index);
    count = std::max(count, std::min(index, kMostLayers - 1) + 1);
  }
  return count;
}

VaeLevels read_levels(const std::vector<WeightScope>& layers, const VaeFile& file, std::int64_t dim) {
  VaeLevels levels;
  int blocks = 0;  // of the level so far
  for (const WeightScope& layer : layers) {
    const bool time = has_any(layer, {"time_conv.weight", "time_conv.bias"});
    if (time || has_any(layer, {"resample.1.weight", "resample.1.bias"})) {
      levels.halves_time.push_back(time);
      blocks = 0;
    } else {
      if (blocks == 0) levels.multipliers.push_back(multiplier(layer, file, dim));
      levels.res_blocks = std::max(levels.res_blocks, ++blocks);
    }
  }
  WAN_CHECK(
      !levels.multipliers.empty() && levels.count() <= VaeLevels::kMost &&
          levels.halves_time.size() + 1 == levels.multipliers.size(),
      kBadFile,
      "[{}] expected 1 to {} levels of residual blocks with a resampling layer between each two below "
      "encoder.downsamples, got {} levels and {} resampling layers; the file is damaged or of another model: "
      "use the {} of the checkpoint",
      file.model, VaeLevels::kMost, levels.multipliers.size(), levels.halves_time.size(), file.name);
  return levels;
}

}  // namespace wan
