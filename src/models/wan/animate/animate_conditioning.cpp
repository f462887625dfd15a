#include "models/wan/animate/animate_conditioning.h"

#include <algorithm>

#include "models/wan/animate/face_encoder.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"

namespace wan {

namespace {

constexpr float kImageNormEpsilon = 1e-5f;  // PyTorch's default, which no config names

void check_animate_input(const WanConfig& config, const AnimateInput& input) {
  const AnimateChannels channels(config);
  const auto expect = [](const char* what, const TensorView& given, const Shape& expected) {
    WAN_CHECK(given.shape() == expected && given.dtype() == DType::kF32 && given.is_contiguous(),
              kInvalidArgument, "the animation model takes {} {}, got {}", what, expected.to_string(),
              given.shape().to_string());
  };
  WAN_CHECK(input.channels.rank() == 4 && input.channels.dim(1) >= 2, kInternal,
            "[animate conditioning] no channels");
  const Shape& given = input.channels.shape();
  expect("channels", input.channels, {channels.all(), given[1], given[2], given[3]});
  for (const TensorView& motion : input.motion)
    expect("motion of faces", motion, {4 * (given[1] - 2) + 1, config.animate->motion_dim});
}

}  // namespace

void mark_posed_frames(ExecContext& ctx, const AnimateChannels& channels, const TensorView& condition) {
  const TensorView posed = condition.select(0, channels.pose).slice(0, 1, condition.dim(1));
  const Tensor ones(DType::kF32, posed.shape());
  std::fill_n(ones.as<float>(), ones.elements(), 1.0f);
  ctx.backend.upload(ones, posed);
}

CharacterContext::CharacterContext(ExecContext& ctx, const WanTransformer& model,
                                   const TensorView& image_tokens)
    : model_(model) {
  const WanConfig& config = model.config();
  const AnimateWeights& weights = model.weights().animate;
  WAN_CHECK(
      image_tokens.dim(1) == config.animate->image_dim, kBadFile,
      "the image encoder gives vectors of {}, the diffusion model takes {}: they do not belong together",
      image_tokens.dim(1), config.animate->image_dim);
  ctx.enter(model.tap_prefix() + "img_emb");
  const Workspace::Scope scope(ctx.workspace);
  const TensorView normed = ctx.workspace.take(DType::kF32, image_tokens.shape());
  const TensorView hidden = ctx.workspace.take(DType::kF32, image_tokens.shape());
  norm_rows(ctx, weights.image.norm_in, kImageNormEpsilon, image_tokens, normed);
  weights.image.in(ctx, normed, hidden, ActivationKind::kGelu);
  image_.embedded = Tensor(ctx.backend.allocator(), DType::kF32, {image_tokens.dim(0), config.dim});
  weights.image.out(ctx, hidden, image_.embedded);
  norm_rows(ctx, weights.image.norm_out, kImageNormEpsilon, image_.embedded, image_.embedded);
  ctx.tap(model.tap_prefix() + "img_emb", image_.embedded);
  image_.blocks.resize(static_cast<std::size_t>(config.num_layers));

  // Poses are channels beside the others, so that all are one product; where they are their bias is, as the weight of a one.
  const TensorView own = model.weights().patch_embedding().weight, pose = weights.pose.matrix();
  const std::int64_t cells = patch_volume(config), posed = own.dim(1) + pose.dim(1);
  embedding_ = Tensor(ctx.backend.allocator(), DType::kF32, {config.dim, posed + cells});
  fill_zero(ctx, embedding_);
  copy(ctx, {own, embedding_.view().slice(1, 0, own.dim(1))});
  copy(ctx, {pose, embedding_.view().slice(1, own.dim(1), posed)});
  copy(ctx, {weights.pose.bias.reshape({config.dim, 1}), embedding_.view().slice(1, posed, posed + 1)});
}

Linear CharacterContext::video_embedding() const {
  return {.weight = embedding_, .bias = model_.weights().patch_embedding().bias};
}

AnimateConditioning::AnimateConditioning(ExecContext& ctx, const WanTransformer& model,
                                         CharacterContext& character, const AnimateInput& input) {
  const WanConfig& config = model.config();
  check_animate_input(config, input);
  const std::int64_t frame_tokens =
      input.channels.dim(2) / config.patch[1] * (input.channels.dim(3) / config.patch[2]);
  for (const TensorView& motion : input.motion) {
    Tensor tokens = encode_face(ctx, config, model.weights().animate.face, motion, model.tap_prefix());
    fusers_.push_back(std::make_unique<FaceFuser>(config, std::move(tokens), frame_tokens,
                                                  model.compute_dtype(), model.tap_prefix()));
    Conditioning& made = branches_.emplace_back();
    made.channels = input.channels;
    made.video_embedding = character.video_embedding();
    made.image = &character.image();
    made.stages = {fusers_.back().get()};
  }
}

TensorView AnimateConditioning::face_tokens(int index) const {
  return fusers_.at(static_cast<std::size_t>(index))->tokens();
}

}  // namespace wan
