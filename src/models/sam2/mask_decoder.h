#pragma once
// MaskDecoder: SAM's two-way transformer between a picture and a few tokens, what it takes of prompts by points, and what becomes of its tokens: masks, how
// good they are, whether the object is there, and a pointer to it.

#include <span>
#include <vector>

#include "models/sam2/image_encoder.h"
#include "models/sam2/weights.h"
#include "ops/exec_context.h"

namespace wan::sam2 {

/// Where a point is, in [0, 1] of the picture's sides, from its pixels' middles.
struct Place {
  float x, y;
};

class MaskDecoder {
 public:
  /// `top` is the whole checkpoint's scope; `other` outlives the decoder.
  MaskDecoder(const Config& config, const WeightScope& top, const OtherWeights& other);

  /// What is decided on the host.
  struct Result {
    std::vector<float>
        logits;  // [mask_size, mask_size] of the mask that was chosen; kNoObject everywhere where there is no object
    std::int64_t mask = 0;  // which of the decoder's
    float quality = 0.0f;   // its expected overlap with the object
    bool present = true;
  };

  /// picture [grid * grid, dim], with what memories have added; pointer [1, dim] is written. Positive points; without any, or with one, the best of
  /// three masks is chosen, with more the single one, if it is stable, and its token is the pointer's. Taps: "sam_mask_decoder.transformer.layers.N",
  /// "sam_mask_decoder.masks", "sam_mask_decoder.quality", "sam_mask_decoder.presence", "obj_ptr".
  Result decode(ExecContext& ctx, const TensorView& picture, const ImageFeatures& features,
                std::span<const Place> points, const TensorView& pointer) const;

 private:
  /// The tokens that go into the transformer: those of the decoder, the points', and one that is no point. [n, dim] on the host.
  Tensor tokens_of(std::span<const Place> points) const;
  void run_layer(ExecContext& ctx, std::size_t index, const TensorView& token_positions,
                 const TensorView& tokens, const TensorView& image) const;
  void attend(ExecContext& ctx, const AttentionWeights& weights, const TensorView& queries,
              const TensorView& keys, const TensorView& values, const TensorView& out) const;
  void upscale(ExecContext& ctx, const TensorView& image, const ImageFeatures& features,
               const TensorView& out) const;
  Result choose(std::span<const float> masks, std::span<const float> quality, float presence,
                bool several) const;

  Config config_;
  const OtherWeights& other_;
  LoadedWeights<DecoderWeights> weights_;
  Doubling first_doubling_, second_doubling_;
  Tensor image_positions_;                      // [grid * grid, dim]
  Tensor frequencies_, point_mark_, no_point_;  // the prompts', on the host
  Tensor own_tokens_;                           // [2 + mask_tokens, dim], on the host
};

}  // namespace wan::sam2
