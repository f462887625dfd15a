#pragma once
// The weights of a wav2vec 2.0 audio encoder: what each is called in a checkpoint, its shape, and how it is held. All in fp32:
// the official code's, at every precision of the video.

#include <vector>

#include "models/wav2vec2/config.h"
#include "nn/layer_norm_rows.h"
#include "nn/linear.h"
#include "weights/block_layout.h"

namespace wan {

struct Wav2Vec2LayerWeights {
  LayerNormWeights attention_norm;  // of dim
  Linear query, key, value;         // [dim, dim]
  Linear output;                    // [dim, dim]
  LayerNormWeights ffn_norm;        // of dim
  Linear ffn_in;                    // [dim_ffn, dim]
  Linear ffn_out;                   // [dim, dim_ffn]

  void visit(const WeightVisitor& at, const Wav2Vec2Config& config);
};

/// The checkpoint's encoder: `top`, or what transformers' models with a head call "wav2vec2.".
WeightScope wav2vec2_scope(const WeightScope& top);

/// For a residency, whose group has wav2vec2_scope(); bind_weights<Wav2Vec2LayerWeights>() names the views of its leases.
BlockLayout wav2vec2_block_layout(const Wav2Vec2Config& config);

/// What stands before and after the layers, convolutions apart.
struct Wav2Vec2OuterWeights {
  std::vector<LayerNormWeights> convolution_norms;
  LayerNormWeights projection_norm;  // of the last convolution's channels
  Linear projection;                 // [dim, channels]
  LayerNormWeights norm;             // after the last layer

  void visit(const WeightVisitor& at, const Wav2Vec2Config& config);
};

/// A convolution in time, as conv3d() takes it.
struct Convolution1d {
  Tensor weight;  // [out, 1, 1, kernel, in]
  Tensor bias;    // [out]
};

/// The convolutions of samples.
std::vector<Convolution1d> load_convolutions(const WeightScope& encoder, const Wav2Vec2Config& config);

/// The positional convolution: its weight norm, g v / |v| with the norm of each tap over both channel dimensions, multiplied
/// out, in either spelling (weight_g and weight_v, parametrizations.weight.original0 and 1).
struct PositionalConvolution {
  Tensor weight;  // [dim, 1, 1, kernel, dim / groups]: each group's outputs together
  Tensor bias;    // [dim]
};
PositionalConvolution load_positions(const WeightScope& encoder, const Wav2Vec2Config& config);

/// Marks as used what speech recognition and training have in a checkpoint, and a hidden state does not need.
void skip_unneeded(const WeightScope& top);

}  // namespace wan
