#pragma once
// The weights of SAM 2: what each is called in the official file, its shape, and how it is held. Products' matrices are in the precision of the
// run, all else in f32.

#include "models/sam2/config.h"
#include "nn/layer_norm_rows.h"
#include "nn/linear.h"

namespace wan::sam2 {

/// A convolution over single pixels.
struct PixelConvolution {
  TensorView weight;  // [out, in, 1, 1]
  TensorView bias;    // [out]

  void visit(const WeightVisitor& at, std::int64_t in, std::int64_t out);
  /// x [pixels, in] -> out [pixels, out]
  void operator()(ExecContext& ctx, const TensorView& x, const TensorView& out) const;
};

/// A convolution as conv3d() takes it.
struct Convolution {
  Tensor weight;  // [out, 1, k, k, in]
  Tensor bias;    // [out]
};

/// Of a stored [out, in, k, k].
Convolution load_convolution(const WeightScope& scope, std::int64_t in, std::int64_t out,
                             std::int64_t kernel);
/// Of a stored [channels, 1, k, k], each channel with a kernel of its own: zeros for the other channels.
Convolution load_channel_convolution(const WeightScope& scope, std::int64_t channels, std::int64_t kernel);

/// A transposed convolution of kernel 2 and stride 2 as a product: each pixel becomes 2 x 2.
struct Doubling {
  Tensor weight;  // [2 * 2 * out, in], rows in the order of row, column, channel
  Tensor bias;    // [2 * 2 * out]

  /// x [size * size, in] -> out [4 size * size, channels]
  void operator()(ExecContext& ctx, const TensorView& x, const TensorView& out) const;
};
/// Of a stored [in, out, 2, 2].
Doubling load_doubling(const WeightScope& scope, std::int64_t in, std::int64_t out);

/// "layers.0" and so on, with ReLU between them.
struct Perceptron {
  std::vector<Linear> layers;

  void visit(const WeightVisitor& at, std::int64_t in, std::int64_t hidden, std::int64_t out,
             std::int64_t count);
  void operator()(ExecContext& ctx, const TensorView& x, const TensorView& out) const;
};

/// Attention between tokens of two kinds.
struct AttentionShape {
  std::int64_t dim;      // of queries and of what comes out
  std::int64_t inner;    // of all heads together
  std::int64_t key_dim;  // of keys and values
};
struct AttentionWeights {
  Linear query, key, value, output;

  void visit(const WeightVisitor& at, const AttentionShape& shape);
};

struct TrunkBlockWeights {
  LayerNormWeights attention_norm, ffn_norm;
  Linear query_key_value, output;
  Linear shortcut;  // empty where the block keeps its channels
  Linear ffn_in, ffn_out;

  void visit(const WeightVisitor& at, const BlockConfig& config);
};

/// What turns the trunk's stages into the pictures that all else takes.
struct NeckWeights {
  std::vector<PixelConvolution> lateral;  // of each stage, first stage first
  PixelConvolution fine, half;            // the decoder's, of the first and second stage's

  void visit(const WeightVisitor& at, const Config& config);
};

struct MemoryLayerWeights {
  LayerNormWeights self_norm, cross_norm, ffn_norm;
  // Queries' and keys' projections are load_rotated()'s.
  Linear self_value, self_output, cross_value, cross_output, ffn_in, ffn_out;

  void visit(const WeightVisitor& at, const Config& config);
};
/// A projection whose rotary pairs, neighbours in the file, are a head's halves, as rotate_halves() has them.
struct RotatedProjection {
  Tensor weight;  // [dim, in]
  Tensor bias;    // [dim]

  Linear linear() const { return {.weight = weight, .bias = bias}; }
};
RotatedProjection load_rotated(const WeightScope& scope, std::int64_t in, std::int64_t out,
                               std::int64_t heads);

struct FuserLayerWeights {
  LayerNormWeights norm;
  Linear in, out;
  TensorView gain;  // [dim]

  void visit(const WeightVisitor& at, const Config& config);
};

struct MemoryEncoderWeights {
  std::vector<LayerNormWeights> mask_norms;
  PixelConvolution mask_out, picture, output;

  void visit(const WeightVisitor& at, const Config& config);
};

struct DecoderLayerWeights {
  AttentionWeights self, to_image, to_tokens;
  LayerNormWeights self_norm, image_norm, ffn_norm, tokens_norm;
  Linear ffn_in, ffn_out;

  void visit(const WeightVisitor& at, const Config& config);
};

/// But for its own tokens.
struct DecoderWeights {
  std::vector<DecoderLayerWeights> layers;
  AttentionWeights final_to_image;
  LayerNormWeights final_norm;
  LayerNormWeights doubled_norm;  // after the first doubling
  std::vector<Perceptron> mask_heads;
  Perceptron quality_head, presence_head;

  void visit(const WeightVisitor& at, const Config& config);
};

/// What stands at the top of the file, and the prompts' parts that points need.
struct OtherWeights {
  TensorView no_memory;   // [1, 1, dim], added to a picture that has no memory
  TensorView no_pointer;  // [1, dim], of an object that is not seen
  TensorView no_mask;     // [1, dim], of prompts without a mask
  Perceptron pointer;     // of a mask's token

  void visit(const WeightVisitor& at, const Config& config);
};

/// Marks as used what prompts by boxes and masks need, and what the official code loads and never uses.
void skip_unneeded(const WeightScope& top);

}  // namespace wan::sam2
