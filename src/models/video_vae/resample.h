#pragma once
// Downsample and Upsample: half or twice the height and width, and the frame rate too where there is a time layer.
// The first frame of a clip passes the time layer untouched both ways; going up, the time layer never sees it: the
// frames before the second group are zero for it.

#include <optional>

#include "models/video_vae/stage.h"
#include "nn/causal_conv3d.h"

namespace wan {

enum class TimeResampling { kNone, kFactor2 };

class Downsample final : public Stage {
 public:
  Downsample(const WeightScope& scope, std::int64_t channels, TimeResampling time);

  bool in_place() const override { return false; }
  Shape output_shape(const Shape& group, GroupKind kind) const override;
  /// x [T, H, W, C] -> out [T or T / 2, H / 2, W / 2, C]; T is even after the first group where time is halved.
  void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
               const TensorView& out) const override {
    run(ctx, state, x, out, {});
  }
  /// The same, added to what out holds.
  void add_to(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out) const {
    run(ctx, state, x, out, out);
  }

 private:
  void run(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out,
           const TensorView& residual) const;

  /// x [T, H, W, C] -> out [T, H / 2, W / 2, C] (+ residual).
  void halve_space(ExecContext& ctx, const StreamState& state, const TensorView& x, const TensorView& out,
                   const TensorView& residual) const;

  CausalConv3d space_;  // stride 2, a zero row below and a zero column at the right
  std::optional<CausalConv3d> time_;
};

class Upsample final : public Stage {
 public:
  Upsample(const WeightScope& scope, std::int64_t in, std::int64_t out, TimeResampling time);

  bool in_place() const override { return false; }
  Shape output_shape(const Shape& group, GroupKind kind) const override;
  /// x [T, H, W, in] -> out [T or 2T, 2H, 2W, out].
  void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
               const TensorView& out) const override {
    run(ctx, state, x, out, {});
  }
  /// The same, added to what out holds.
  void add_to(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out) const {
    run(ctx, state, x, out, out);
  }

 private:
  void run(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out,
           const TensorView& residual) const;
  void double_time(ExecContext& ctx, FeatureCache& cache, const TensorView& x, const TensorView& out) const;

  CausalConv3d space_;  // as in upsample_conv()
  std::optional<CausalConv3d>
      time_;  // to twice the channels: the first half is for the even frames of the output
};

}  // namespace wan
