#pragma once
// ImageEncoder: SAM 2's Hiera trunk and the pyramid of pictures that it ends in.

#include <cstdint>
#include <span>
#include <vector>

#include "models/sam2/weights.h"
#include "ops/exec_context.h"

namespace wan::sam2 {

/// What the rest of the model takes of a picture: f32 rows, one a pixel of a square picture.
struct ImageFeatures {
  TensorView coarse;  // [grid * grid, dim]
  TensorView half;    // [4 grid * grid, dim / 4], as the decoder takes it
  TensorView fine;    // [16 grid * grid, dim / 8], likewise
};

class ImageEncoder {
 public:
  /// `top` is the whole checkpoint's scope.
  ImageEncoder(const Config& config, const WeightScope& top);

  /// pixels [image_size, image_size, 3] f32, normalized. Taps: "image_encoder.trunk.blocks.N" [size, size, channels] and
  /// "image_encoder.coarse", ".half" and ".fine".
  void encode(ExecContext& ctx, const TensorView& pixels, const ImageFeatures& features) const;

 private:
  void embed(ExecContext& ctx, const TensorView& pixels, const TensorView& tokens) const;
  void run_block(ExecContext& ctx, std::size_t index, std::int64_t size, const TensorView& x,
                 const TensorView& out) const;
  void attend(ExecContext& ctx, std::size_t index, std::int64_t size, const TensorView& normed,
              const TensorView& out) const;
  void end_stage(ExecContext& ctx, std::size_t stage, std::int64_t size, const TensorView& x,
                 const ImageFeatures& features) const;

  Config config_;
  Convolution patches_;
  Tensor positions_;  // [(image_size / 4)^2, channels]
  std::vector<LoadedWeights<TrunkBlockWeights>> blocks_;
  LoadedWeights<NeckWeights> neck_;
};

/// Levels of [size, size, 3] as the trunk takes them: of 0 to 1, less ImageNet's mean, by its deviation.
void normalize_picture(std::span<const std::uint8_t> levels, std::span<float> values);

}  // namespace wan::sam2
