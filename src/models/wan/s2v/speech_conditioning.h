#pragma once
// SpeechConditioning: what a clip of speech to video depends on beside its noise and text: the sound, the reference picture,
// the frames before the clip, and poses. All of it is computed once a clip.

#include <memory>

#include "models/wan/s2v/speech_layout.h"
#include "models/wan/transformer.h"

namespace wan {

/// On the backend's device, f32, contiguous, the same on every rank. h x w are the latent's rows and columns, multiples of 8;
/// C its channels.
struct SpeechInput {
  TensorView audio;  // [audio_dim, 4 F]: what the clip's video frames hear, the mean of the sound's layers
  TensorView reference;  // [C, 1, h, w] latent
  TensorView
      motion;  // [C, kMotionLatents, h, w] latents before the clip, oldest first; empty: none (not zeros)
  TensorView pose;  // [C, F, h, w] latents; empty: none
};

class SpeechConditioning {
 public:
  /// For guidance branches 0 (hears the sound) and, of two, 1 (hears features of 0). Borrows the model and the pose, which stay as
  /// they are; the other inputs may go. Taps: audio_tokens [F, 5, dim], audio_global [F, dim], motion_tokens [1.5 h w / 4, dim], as
  /// the modules' outputs of the official model; those of branch 1 are named audio_tokens_uncond and audio_global_uncond. Throws
  /// InvalidArgument for inputs whose shapes do not belong to the model or to each other.
  SpeechConditioning(ExecContext& ctx, const WanTransformer& model, const SpeechInput& input, int branches);
  ~SpeechConditioning();
  SpeechConditioning(const SpeechConditioning&) = delete;
  SpeechConditioning& operator=(const SpeechConditioning&) = delete;

  const Conditioning& branch(int index) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace wan
