#pragma once
// The tokens of a speech-to-video sequence: the clip's, the reference picture's, and those of the frames before the clip.

#include "models/wan/config.h"
#include "nn/token_layout.h"

namespace wan {

/// Latent frames before the clip, and the video frames that they stand for.
constexpr std::int64_t kMotionLatents = 19;
constexpr std::int64_t kMotionFrames = 73;

/// Some of the latent frames before the clip, which become tokens together.
struct MotionPack {
  std::int64_t first, latents;  // of the kMotionLatents
  std::int32_t time;            // of its first tokens: before 0, where the clip begins
};
/// By pack, 0 to 2: the newest frame, the two before it, the rest. Patches of a pack are twice as large, in every direction, as those
/// of the one before.
constexpr MotionPack kMotionPacks[] = {{18, 1, -1}, {16, 2, -3}, {0, 16, -19}};

/// Segments "video", "reference" and, with `motion`, "motion". Timesteps of a forward pass by modulation row: the step's; 0, of
/// reference and motion. `latent` [C, F, h, w] is the noisy one's shape.
TokenLayout speech_layout(const WanConfig& config, const Shape& latent, bool motion, int ranks, int rank);

/// Tokens of the layout after the video's.
std::int64_t extra_speech_tokens(const WanConfig& config, const Shape& latent, bool motion);

}  // namespace wan
