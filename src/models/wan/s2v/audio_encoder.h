#pragma once
// The sound of a clip as tokens that its frames attend to: the official casual_audio_encoder (sic).

#include "models/wan/s2v/weights.h"
#include "ops/exec_context.h"

namespace wan {

struct AudioTokens {
  Tensor local;   // [F, audio_tokens + 1, dim] f32, a latent frame's; the padding token last
  Tensor global;  // [F, dim] f32
};

/// `features` [audio_layers, audio_dim, 4 F] f32, contiguous: of the clip's video frames. The frames before the clip have the
/// first one's features, and their tokens are left out. Not `heard`: features of 0.
AudioTokens encode_audio(ExecContext& ctx, const WanConfig& config, const AudioEncoderWeights& weights,
                         const TensorView& features, bool heard);

}  // namespace wan
