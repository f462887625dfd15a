#pragma once
// Strip: a rank's part of every picture, where ranks divide a VAE's work.

#include "models/video_vae.h"
#include "ops/conv3d.h"
#include "parallel/partition.h"

namespace wan {

/// Rows or columns of pictures, whichever are more, in whole latents: so the parts of every level of an encoder or decoder meet in the
/// same places, and a layer that halves or doubles a side works inside of a part.
class Strip {
 public:
  /// All of the picture.
  Strip() = default;
  /// This rank's part of pictures of height x width latents. All of it where these are fewer than the ranks.
  Strip(const Communicator& ranks, std::int64_t height, std::int64_t width);

  bool divided() const { return ranks_ > 1; }
  int ranks() const { return ranks_; }
  int rank() const { return rank_; }
  bool divides_rows() const { return !columns_; }

  /// A rank's share of so many things, a whole number for each latent along the divided side.
  Range range(int rank, std::int64_t count) const;
  /// A rank's rows or columns of whole pictures of any level, whose height is dimension `height_dim` and whose width is the next.
  TensorView part_of(const TensorView& whole, int height_dim, int rank) const;
  TensorView part_of(const TensorView& whole, int height_dim) const {
    return part_of(whole, height_dim, rank_);
  }
  /// Shape [T, H, W, C] of the whole pictures of which frames of shape `part` are this rank's part.
  Shape whole_of(const Shape& part) const;

  /// The line of the neighbours' pixels that a convolution sees at either end of the divided side; nothing where it is not divided.
  SpatialPadding halo() const;

 private:
  int ranks_ = 1;
  int rank_ = 0;
  bool columns_ = false;
  std::int64_t latents_ = 1;  // along the divided side
};

}  // namespace wan
