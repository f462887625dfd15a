#include "models/wav2vec2/speech_features.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace wan {

namespace {

constexpr double kStateRate = 50.0;  // the official code's; the convolutions' own is 49.9
constexpr double kFeatureRate = 30.0;

/// Two neighbouring states and how much of each is in a feature.
struct Blend {
  std::int64_t first, second;
  float of_first, of_second;

  float operator()(float a, float b) const { return of_first * a + of_second * b; }
};

/// In float, as PyTorch: over minutes of sound an index is a hundredth of a state off, for which its results are compared.
Blend blend_of(std::int64_t feature, std::int64_t states) {
  const std::int64_t count = speech_feature_count(states);
  const float scale = count > 1 ? static_cast<float>(states - 1) / static_cast<float>(count - 1) : 0.0f;
  const float place = scale * static_cast<float>(feature);
  const std::int64_t first = std::min(static_cast<std::int64_t>(place), states - 1);
  const float of_second = std::clamp(place - static_cast<float>(first), 0.0f, 1.0f);
  return {first, std::min(first + 1, states - 1), 1.0f - of_second, of_second};
}

}  // namespace

std::int64_t speech_feature_count(std::int64_t states) {
  return static_cast<std::int64_t>(static_cast<double>(states) / kStateRate * kFeatureRate);
}

Tensor interpolate_states(const TensorView& states) {
  const std::int64_t count = speech_feature_count(states.dim(1));
  const std::int64_t channels = states.dim(2);
  Tensor features(DType::kF32, {states.dim(0), count, channels});
  for (std::int64_t layer = 0; layer < states.dim(0); ++layer)
    for (std::int64_t feature = 0; feature < count; ++feature) {
      const Blend blend = blend_of(feature, states.dim(1));
      const TensorView rows = states.select(0, layer);
      const float* first = rows.select(0, blend.first).as<float>();
      const float* second = rows.select(0, blend.second).as<float>();
      std::transform(first, first + channels, second,
                     features.view().select(0, layer).select(0, feature).as<float>(), blend);
    }
  return features;
}

std::int64_t speech_feature_of(std::int64_t frame, double fps) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(frame) * (1.0 / fps) * kFeatureRate));
}

void pick_speech_features(const TensorView& states, double fps, const TensorView& out) {
  const std::int64_t channels = states.dim(2);
  const std::int64_t frames = out.dim(2);
  WAN_CHECK(out.is_contiguous() && out.dim(0) == states.dim(0) && out.dim(1) == channels, kInternal,
            "[speech_features] states {} into {}", states.shape().to_string(), out.shape().to_string());
  const std::int64_t count = speech_feature_count(states.dim(1));
  std::fill_n(out.as<float>(), out.elements(), 0.0f);
  for (std::int64_t layer = 0; layer < states.dim(0); ++layer)
    for (std::int64_t frame = 0; frame < frames; ++frame) {
      const std::int64_t feature = speech_feature_of(frame, fps);
      if (feature >= count) break;
      const Blend blend = blend_of(feature, states.dim(1));
      const float* first = states.select(0, layer).select(0, blend.first).as<float>();
      const float* second = states.select(0, layer).select(0, blend.second).as<float>();
      float* to = out.select(0, layer).as<float>() + frame;
      for (std::int64_t channel = 0; channel < channels; ++channel)
        to[channel * frames] = blend(first[channel], second[channel]);
    }
}

std::int64_t speech_clip_count(std::int64_t features, double fps, std::int64_t clip_frames) {
  const double a_clip = static_cast<double>(clip_frames) * (kFeatureRate / fps);
  return static_cast<std::int64_t>(static_cast<double>(features) / a_clip) + 1;
}

}  // namespace wan
