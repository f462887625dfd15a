#pragma once
// The levels of VAE 2.2: residual blocks and a change of resolution, and beside them a shortcut that changes it without
// weights. The shortcut is written to the output first and the last layer adds to it, so that the residual blocks may
// work in place on the input.

#include <optional>
#include <string>

#include "models/video_vae/resample.h"
#include "ops/channel_resample.h"

namespace wan {

/// What a level's layers are made of.
struct BlockShape {
  std::int64_t in;
  std::int64_t out;
  int res_blocks;
  ResampleFactors factors;
};

/// "downsamples.N" and "avg_shortcut" of the encoder. Without factors it keeps the resolution.
class DownBlock final : public Stage {
 public:
  DownBlock(const WeightScope& scope, const BlockShape& shape);

  bool in_place() const override { return false; }
  Shape output_shape(const Shape& group, GroupKind kind) const override;
  /// x [T, H, W, in] -> out [T or T / 2, H / 2, W / 2, out].
  void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
               const TensorView& out) const override;

 private:
  std::string shortcut_name_;
  BlockShape shape_;
  StageList blocks_;
  std::optional<Downsample> resample_;
};

/// "upsamples.N" and "avg_shortcut" of the decoder, but for its last level, which has residual blocks alone.
class UpBlock final : public Stage {
 public:
  UpBlock(const WeightScope& scope, const BlockShape& shape);

  bool in_place() const override { return false; }
  Shape output_shape(const Shape& group, GroupKind kind) const override;
  /// x [T, H, W, in] -> out [T or 2T, 2H, 2W, out]. Of the first group's frame, what the shortcut would put before the
  /// clip is left out.
  void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
               const TensorView& out) const override;

 private:
  std::string shortcut_name_;
  BlockShape shape_;
  StageList blocks_;
  Upsample resample_;
};

/// Appends a level's residual blocks, named N from 0 on below `scope`.
void add_residual_blocks(StageList& stages, const WeightScope& scope, const BlockShape& shape);

}  // namespace wan
