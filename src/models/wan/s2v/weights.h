#pragma once
// What a speech-to-video transformer has beside the weights of every Wan transformer.

#include "models/wan/attention_weights.h"
#include "models/wan/config.h"
#include "models/wan/time_convolution.h"

namespace wan {

/// The official casual_audio_encoder (sic), in f32 in the official code whatever the blocks' precision.
struct AudioEncoderWeights {
  TensorView layers;                 // [1, audio_layers, 1, 1]: SiLU makes them the weights of a mean
  TimeConvolutionWeights local_in;   // to audio_tokens heads of dim / 4
  TimeConvolutionWeights global_in;  // to dim / 4
  TimeConvolutionWeights middle;     // dim / 4 to dim / 2
  TimeConvolutionWeights last;       // dim / 2 to dim
  Linear global_out;                 // [dim, dim]
  TensorView padding_token;          // [1, 1, 1, dim]

  void visit(const WeightVisitor& at, const WanConfig& config);
};

struct SpeechWeights {
  TensorView segments;         // [3, dim] f32: added to the tokens of video, reference and motion
  PatchEmbeddingWeights pose;  // added to the video's tokens
  PatchEmbeddingWeights
      motion[3];  // of the newest latent frame, the 2 before it and the 16 oldest: packs of 1, 2 and 4 frames
  AudioEncoderWeights audio;

  void visit(const WeightVisitor& at, const WanConfig& config);
};

/// Latent frames that the frame packer takes at once, by its place in SpeechWeights::motion, and their patches.
PatchSize motion_patch(const WanConfig& config, int pack);

/// What a listed block has besides: BlockLayout's extra weights.
struct AudioInjectorWeights {
  AttentionWeights attention;
  Linear modulation;  // [2 dim, dim]: shift, scale

  void visit(const WeightVisitor& at, const WanConfig& config);
};

}  // namespace wan
