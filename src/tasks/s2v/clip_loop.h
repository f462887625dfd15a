#pragma once
// ClipLoop: the clips of a video from a sound, one after another.

#include <optional>
#include <vector>

#include "models/wan/s2v/speech_conditioning.h"
#include "pipeline/input_images.h"
#include "pipeline/run.h"
#include "tasks/s2v/heard_sound.h"
#include "tasks/s2v/pose_frames.h"

namespace wan {

class ClipLoop {
 public:
  /// All of them outlive this.
  ClipLoop(Run& run, const RunInputs& inputs);

  /// Makes the next clip.
  void make();

 private:
  /// Where each part of a clip's condition lies along its latent frames.
  static constexpr std::int64_t kReference = 0;
  static constexpr std::int64_t kMotion = 1;
  static constexpr std::int64_t kPose = kMotion + kMotionLatents;

  bool has_motion() const { return run_.segment() > 0 || speech_.start_from_ref; }
  const WanTransformer& transformer() const { return *run_.models().experts[0]; }
  /// Frames [first, first + count) of the condition.
  Tensor part(const TensorView& condition, std::int64_t first, std::int64_t count) const;

  Tensor make_condition();
  /// What the clip's frames hear.
  Tensor sound();
  TensorView denoise(Tensor condition);
  void put_before(const TensorView& condition, const TensorView& into);
  void encode_reference();
  void encode_history(const TensorView& into);
  void encode_poses(const TensorView& into);
  void dump_poses() const;
  void begin_history();
  /// The clip's decoded frames become the last ones of the history.
  void carry_on(Tensor frames);

  Run& run_;
  const RunContext& context_;
  const RunInputs& inputs_;
  const SpeechSettings& speech_;
  int branches_;
  Tensor reference_;  // latents [z, 1, h, w]; empty until they are needed
  Tensor
      history_;  // the frames before the clip [kMotionFrames, H, W, 3] f32 on the host, oldest first; empty before the first clip
  std::optional<HeardSound> heard_;
  std::optional<PoseReader> poses_;  // on rank 0
  int poses_taken_ = 0;              // clips whose poses it has given
};

}  // namespace wan
