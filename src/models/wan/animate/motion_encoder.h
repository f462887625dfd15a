#pragma once
// MotionEncoder: what a face does, as a vector: LIA's encoder of pictures, and the directions that its numbers go along.

#include <string>
#include <vector>

#include "models/wan/config.h"
#include "ops/exec_context.h"

namespace wan {

class MotionEncoder {
 public:
  /// `weights` is the scope of "motion_encoder". All in f32, whatever the blocks' precision. Missing and mis-shaped tensors go into the
  /// scope's report; a scope that describes loads nothing.
  MotionEncoder(const AnimateConfig& config, const WeightScope& weights, std::string tap_prefix);

  /// Faces that encode() is given at a time, at most: 128 MB of the largest of its layers, or one.
  std::int64_t most_faces() const;

  /// faces [n, size, size, 3] f32 in [-1, 1] -> motion [n, motion_dim] f32. Taps: the modules' outputs, channels last.
  void encode(ExecContext& ctx, const TensorView& faces, const TensorView& motion) const;

 private:
  /// As conv3d() takes it: [out, 1, kernel, kernel, in], with the gains of the layer and of its activation in it.
  struct Convolution {
    Tensor weight, bias;
  };
  /// A level halves the picture: x -> leaky(half(leaky(in(x)))) + skip(x).
  struct Level {
    Convolution in, half, skip;
  };
  static Level load_level(const WeightScope& weights, std::int64_t in, std::int64_t out);
  void run_level(ExecContext& ctx, const Level& level, const TensorView& x, const TensorView& out) const;

  AnimateConfig config_;
  std::string tap_prefix_;
  Convolution first_;
  std::vector<Level> levels_;
  Convolution last_;
  std::vector<Convolution> linears_;  // [out, in], without activations between them
  Tensor directions_;                 // [motion_dim, motion_directions], orthonormal
};

}  // namespace wan
