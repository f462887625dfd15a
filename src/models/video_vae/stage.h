#pragma once
// Stage: a layer between the first convolution and the head of an encoder or decoder; StageList: a row of them, walked
// once for each group of frames.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/video_vae/stream.h"
#include "weights/weight_scope.h"

namespace wan {

class Stage {
 public:
  virtual ~Stage() = default;
  /// Where true, forward() is called with out = x.
  virtual bool in_place() const = 0;
  virtual Shape output_shape(const Shape& group, GroupKind kind) const = 0;
  /// What forward() takes beside its output, for later groups of this shape.
  virtual void plan(const Shape& group, StreamPlan& plan) const = 0;
  /// x [T, H, W, C] -> out, of output_shape(). May leave anything in x.
  virtual void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                       const TensorView& out) const = 0;
};

/// The name of a layer's tap: "vae." and its path in the checkpoint.
std::string tap_name(const WeightScope& scope);

class StageList {
 public:
  /// Appends Layer(scope, args...), whose output is shown as tap_name(scope).
  template <typename Layer, typename... Args>
  void add(const WeightScope& scope, Args&&... args) {
    stages_.push_back({tap_name(scope), std::make_unique<Layer>(scope, std::forward<Args>(args)...)});
  }

  /// Outputs included, which forward() takes in its caller's scope. Returns the last one's shape.
  Shape plan(const Shape& group, StreamPlan& plan) const;
  /// x [T, H, W, C] -> the last output: x itself where every stage works in place. May leave anything in x. Throws
  /// Cancelled between two stages.
  TensorView forward(ExecContext& ctx, StreamState& state, const TensorView& x) const;

 private:
  struct Named {
    std::string name;
    std::unique_ptr<const Stage> stage;
  };
  std::vector<Named> stages_;
};

}  // namespace wan
