#pragma once
// What a clip of character animation depends on beside its noise and text: the picture of the character, poses, faces, and what is
// given of its pixels. All of it is computed once a clip, what the picture becomes once a video.

#include <memory>

#include "models/wan/animate/face_fuser.h"
#include "models/wan/transformer.h"

namespace wan {

/// The channels that follow the noisy latent's, [all, F, h, w] f32: 4 of mask, z of known latents, z' of poses and one that says where
/// poses are. The first latent frame is the picture's, which has no pose.
struct AnimateChannels {
  /// For a model with so many latent and pose channels.
  explicit AnimateChannels(const WanConfig& config)
      : known(kMask + config.out_dim), pose(known + config.animate->pose_dim) {}

  static constexpr std::int64_t kMask = 4;  // channels of mask: a latent frame's four video frames
  std::int64_t known;  // channels up to here are the mask's and the known latents': the model's own condition
  std::int64_t pose;   // up to here the poses'
  std::int64_t all() const { return pose + 1; }
};

/// Makes of zeros [all, F, h, w] on the device what says where poses are: one in every frame but the first.
void mark_posed_frames(ExecContext& ctx, const AnimateChannels& channels, const TensorView& condition);

/// What all clips of a video share.
class CharacterContext {
 public:
  /// `image_tokens` [n, image_dim] f32 on the device, of the picture of the character. Tap img_emb [n, dim].
  CharacterContext(ExecContext& ctx, const WanTransformer& model, const TensorView& image_tokens);

  ImageContext& image() { return image_; }
  std::size_t bytes() const { return image_.bytes() + embedding_.bytes(); }
  /// Of the noisy latent with AnimateChannels. Borrows this and the model.
  Linear video_embedding() const;

 private:
  const WanTransformer& model_;
  ImageContext image_;
  Tensor embedding_;  // [dim, values of a patch]
};

/// On the backend's device, f32, contiguous, the same on every rank.
struct AnimateInput {
  TensorView channels;  // AnimateChannels
  /// [4 (F - 2) + 1, motion_dim], a vector a video frame, of each guidance branch.
  std::vector<TensorView> motion;
};

class AnimateConditioning {
 public:
  /// Borrows the model, the character and the channels, which stay as they are. Tap face_encoder [F - 1, tokens, dim]. Throws
  /// InvalidArgument for inputs whose shapes do not belong to the model or to each other.
  AnimateConditioning(ExecContext& ctx, const WanTransformer& model, CharacterContext& character,
                      const AnimateInput& input);
  AnimateConditioning(const AnimateConditioning&) = delete;
  AnimateConditioning& operator=(const AnimateConditioning&) = delete;

  /// encode_face()'s, of a branch.
  TensorView face_tokens(int index) const;
  const Conditioning& branch(int index) const { return branches_.at(static_cast<std::size_t>(index)); }

 private:
  std::vector<std::unique_ptr<FaceFuser>> fusers_;  // by branch
  std::vector<Conditioning> branches_;
};

}  // namespace wan
