#pragma once
// From the audio encoder's hidden states to what each frame of a video hears.

#include <cstdint>

#include "tensor/tensor.h"

namespace wan {

/// Features of a sound that has so many hidden states, 50 a second: 30 a second, int(states / 50 * 30). 0 of fewer than two.
std::int64_t speech_feature_count(std::int64_t states);

/// Linear interpolation in time that keeps the first state and the last (PyTorch's align_corners), in its arithmetic: [L, T, C]
/// f32 on the host -> [L, speech_feature_count(T), C].
Tensor interpolate_states(const TensorView& states);

/// The feature that a video's frame hears: frame / fps * 30, halves to the even one.
std::int64_t speech_feature_of(std::int64_t frame, double fps);

/// What each frame of a video hears, of interpolate_states() without the features that no frame hears; zeros where the sound is over:
/// states [L, T, C] f32 on the host into out [L, C, frames].
void pick_speech_features(const TensorView& states, double fps, const TensorView& out);

/// Clips of `clip_frames` frames that a sound of so many features fills: as many as go into it whole, and one more.
std::int64_t speech_clip_count(std::int64_t features, double fps, std::int64_t clip_frames);

}  // namespace wan
