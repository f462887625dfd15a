#pragma once
// The sound of a clip as tokens that its frames attend to: the official casual_audio_encoder (sic).

#include <vector>

#include "models/wan/s2v/weights.h"
#include "ops/exec_context.h"

namespace wan {

struct AudioTokens {
  Tensor local;   // [F, audio_tokens + 1, dim] f32, a latent frame's; the padding token last
  Tensor global;  // [F, dim] f32
};

/// How much of each of the sound's layers the transformer hears, [audio_layers]: what SiLU makes of its weights, as parts of 1.
std::vector<double> audio_layer_shares(ExecContext& ctx, const AudioEncoderWeights& weights);

/// sum += share * layer: one layer of a sound's features in the mean of all of them. f32 on the host, contiguous, as large as each other.
void add_audio_layer(const TensorView& layer, double share, const TensorView& sum);

/// `sound` [audio_dim, 4 F] f32, contiguous: what the clip's video frames hear, the mean of the layers. The frames before the clip
/// hear what the first one does, and their tokens are left out. Not `heard`: features of 0.
AudioTokens encode_audio(ExecContext& ctx, const WanConfig& config, const AudioEncoderWeights& weights,
                         const TensorView& sound, bool heard);

}  // namespace wan
