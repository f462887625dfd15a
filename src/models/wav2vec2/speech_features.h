#pragma once
// From the audio encoder's hidden states to what each frame of a video hears.

#include <cstdint>

#include "tensor/tensor.h"

namespace wan {

/// Hidden states a second, as the official code counts them; and the rate that they are brought to before frames pick theirs.
inline constexpr double kSpeechStateRate = 50.0;
inline constexpr double kSpeechFeatureRate = 30.0;

/// How many features a sound of so many hidden states has: int(states / 50 * 30). 0 for fewer than two states.
std::int64_t speech_feature_count(std::int64_t states);

/// Linear interpolation in time, first and last state kept (PyTorch's align_corners), in its arithmetic: [L, T, C] f32 on the
/// host -> [L, speech_feature_count(T), C].
Tensor interpolate_states(const TensorView& states);

/// The feature that frame `frame` of a video of `fps` frames a second picks: frame * 30 / fps, halves to the even one.
std::int64_t speech_feature_of(std::int64_t frame, double fps);

/// features [L, F, C] f32 on the host -> [L, C, frames]: each video frame's feature, zeros where the sound is over.
Tensor speech_features(const TensorView& features, double fps, std::int64_t frames);

/// Clips of `clip_frames` frames that a sound of so many features fills: one more than go into it whole.
std::int64_t speech_clip_count(std::int64_t features, double fps, std::int64_t clip_frames);

}  // namespace wan
