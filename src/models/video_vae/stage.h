#pragma once
// Stage: a layer between the first convolution and the head of an encoder or decoder; StageList: a row of them, walked
// once for each group of frames.

#include <functional>
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
  /// x [T, H, W, C] -> out, of output_shape(). May leave anything in x.
  virtual void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                       const TensorView& out) const = 0;
};

/// The name of a layer's tap: "vae." and its path in the checkpoint.
std::string tap_name(const WeightScope& scope);

/// Where a decoder's frames go as they come out of the last stage.
struct FrameTarget {
  /// Memory for some of them, in a Scope that lasts until take() has returned.
  std::function<TensorView(const Shape& frames)> place;
  /// Takes them, in order. May leave anything in them.
  std::function<void(const TensorView& frames)> take;
};

/// Writes an encoder's next frames, as many as there is room for.
using FrameFill = std::function<void(const TensorView& frames)>;

class StageList {
 public:
  /// Appends Layer(scope, args...), whose output is shown as tap_name(scope).
  template <typename Layer, typename... Args>
  void add(const WeightScope& scope, Args&&... args) {
    stages_.push_back({tap_name(scope), std::make_unique<Layer>(scope, std::forward<Args>(args)...)});
  }

  Shape output_shape(const Shape& group, GroupKind kind) const { return shapes(group, kind).back(); }

  /// Stage after stage, all of the group: x [T, H, W, C] -> the last output, which is x itself where every stage works
  /// in place. Takes outputs in the caller's Scope. May leave anything in x. Throws Cancelled between two stages.
  TensorView forward(ExecContext& ctx, StreamState& state, const TensorView& x) const;

  /// A decoder's way: what a stage gives goes to the next ones in as many parts as the walk says, each as far as the
  /// target before the next part: behind a time layer, which makes two frames of one, a part is half. Otherwise as
  /// forward().
  void push(ExecContext& ctx, StreamState& state, const TensorView& x, const FrameTarget& target) const;

  /// An encoder's way: what a stage needs comes from the ones before it in parts, likewise; `group` is the shape of all
  /// that the source gives. Otherwise as forward().
  void pull(ExecContext& ctx, StreamState& state, const Shape& group, const FrameFill& source,
            const TensorView& out) const;

 private:
  struct Named {
    std::string name;
    std::unique_ptr<const Stage> stage;
  };

  /// The shapes of every stage's input, and last that of the output.
  std::vector<Shape> shapes(const Shape& group, GroupKind kind) const;
  void run(std::size_t index, ExecContext& ctx, StreamState& state, const TensorView& x,
           const TensorView& out) const;
  /// Whether only stages in place follow a stage of this output, and all of it passes them at once.
  bool goes_to_target(std::size_t index, const Shape& out, const StreamOptions& options) const;

  void push_from(std::size_t index, ExecContext& ctx, StreamState& state, const TensorView& x,
                 const FrameTarget& target) const;
  void pull_to(std::size_t index, ExecContext& ctx, StreamState& state, const std::vector<Shape>& shapes,
               const FrameFill& source, const TensorView& out) const;

  std::vector<Named> stages_;
};

}  // namespace wan
