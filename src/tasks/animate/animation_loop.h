#pragma once
// AnimationLoop: the clips of an animated character, one after another.

#include <functional>
#include <optional>

#include "models/wan/animate/animate_conditioning.h"
#include "tasks/animate/source.h"
#include "tasks/clips.h"

namespace wan {

class AnimationLoop {
 public:
  /// Outlived by `run`.
  explicit AnimationLoop(Run& run);

  /// Makes the next clip.
  void make();

 private:
  const WanTransformer& transformer() const { return *run_.models().experts[0]; }
  bool is_first_rank() const { return context_.exec.communicator.rank() == 0; }
  AnimationSettings::Clip clip() const;
  bool is_last() const { return run_.segment() + 1 == run_.segments(); }

  /// The picture in the video's size, on rank 0.
  const Image& character();
  /// AnimateChannels [all, F, h, w] f32 on the device.
  Tensor make_condition();
  /// Latents [z, 1, h, w] of the character.
  const TensorView& reference();
  void encode_poses(const TensorView& into);
  void encode_known(const TensorView& into);
  /// 1 where a pixel is known: [4, F - 1, h, w], a latent frame's four video frames.
  void make_mask(const TensorView& into);
  /// What the image tower makes of the character, once a video.
  CharacterContext& context_of_character();
  /// [clip_frames, motion_dim] f32 on the device, of the clip's faces.
  Tensor motion_of_faces();
  /// The same of faces that are black, which guidance leads away from.
  const Tensor& motion_of_nobody();
  /// `faces` gives [n, size, size, 3] from the first one on; rank 0's, for all ranks.
  void encode_faces(const std::function<void(std::int64_t first, const TensorView& faces)>& faces,
                    const TensorView& motion);
  TensorView denoise(Tensor condition);
  /// All frames of poses and faces, as they are.
  void dump_source() const;

  Run& run_;
  const RunContext& context_;
  const AnimationSettings& animation_;
  AnimationFiles files_;
  std::int64_t frames_;  // of the source
  int branches_;
  std::optional<Image> character_;
  Tensor reference_;  // empty until it is needed, as those that follow
  std::optional<CharacterContext> character_context_;
  Tensor motion_of_nobody_;
  std::optional<ClipReader> poses_, faces_, background_, mask_;  // on rank 0
  Tensor carried_;  // the frames that the clip begins with [n, H, W, 3] f32 on the host
};

}  // namespace wan
