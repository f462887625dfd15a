#pragma once
// What an animation transformer has beside the weights of every Wan transformer, its motion encoder's apart.

#include "models/wan/attention_weights.h"
#include "models/wan/config.h"
#include "models/wan/time_convolution.h"
#include "nn/layer_norm_rows.h"

namespace wan {

/// The image encoder's tokens as a context of cross-attention: the official img_emb.
struct ImageEmbeddingWeights {
  LayerNormWeights norm_in;
  Linear in, out;  // [image_dim, image_dim], [dim, image_dim]
  LayerNormWeights norm_out;

  void visit(const WeightVisitor& at, std::int64_t image_dim, std::int64_t dim);
};

struct FaceEncoderWeights {
  TimeConvolutionWeights in;      // motion_dim to face_heads heads of face_dim
  TimeConvolutionWeights middle;  // face_dim to face_dim
  TimeConvolutionWeights last;    // face_dim to face_dim
  Linear out;                     // [dim, face_dim]
  TensorView padding_token;       // [1, 1, 1, dim]

  void visit(const WeightVisitor& at, const WanConfig& config);
};

struct AnimateWeights {
  PatchEmbeddingWeights pose;  // added to the tokens of all but the first latent frame
  ImageEmbeddingWeights image;
  FaceEncoderWeights face;

  void visit(const WeightVisitor& at, const WanConfig& config);
};

/// What a block has besides that a face block follows: BlockLayout's extra weights.
struct FaceBlockWeights {
  Linear key_value;                 // [2 dim, dim]
  Linear query, output;             // [dim, dim]
  TensorView norm_query, norm_key;  // [head_dim] f32

  void visit(const WeightVisitor& at, const WanConfig& config);
};

}  // namespace wan
