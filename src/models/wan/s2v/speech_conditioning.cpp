#include "models/wan/s2v/speech_conditioning.h"

#include "models/wan/s2v/audio_injector.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/linear_combination.h"
#include "ops/patchify.h"

namespace wan {

namespace {

enum SegmentRow { kVideoRow, kReferenceRow, kMotionRow };  // of SpeechWeights::segments

void check_input(const WanConfig& config, const SpeechInput& input) {
  const SpeechConfig& speech = *config.speech;
  const auto expect = [](const char* what, const TensorView& given, const Shape& expected) {
    WAN_CHECK(given.shape() == expected && given.dtype() == DType::kF32 && given.is_contiguous(),
              kInvalidArgument, "the speech model takes {} {}, got {}", what, expected.to_string(),
              given.shape().to_string());
  };
  WAN_CHECK(input.audio.rank() == 2 && input.reference.rank() == 4, kInternal,
            "[speech conditioning] neither sound nor reference");
  WAN_CHECK(input.audio.dim(0) == speech.audio_dim, kBadFile,
            "the audio encoder gives {} features, the diffusion model takes {}: they do not belong together",
            input.audio.dim(0), speech.audio_dim);
  const std::int64_t latents = input.audio.dim(1) / 4;
  const std::int64_t rows = input.reference.dim(2), columns = input.reference.dim(3);
  expect("features of sound", input.audio, {speech.audio_dim, latents * 4});
  expect("a reference", input.reference, {config.in_dim, 1, rows, columns});
  if (input.motion) expect("motion latents", input.motion, {config.in_dim, kMotionLatents, rows, columns});
  if (input.pose) expect("pose latents", input.pose, {speech.pose_dim, latents, rows, columns});
}

}  // namespace

struct SpeechConditioning::Parts {
  explicit Parts(const WanTransformer& of) : model(of) {}

  const WanConfig& config() const { return model.config(); }
  const SpeechWeights& weights() const { return model.weights().speech; }
  /// A bias with the segment's row of the weights added to it.
  TensorView biased(ExecContext& ctx, const TensorView& bias, SegmentRow row, const TensorView& more = {});
  /// Patches of `latent`, as tokens.
  void embed(ExecContext& ctx, const TensorView& latent, const PatchSize& patch, const Linear& embedding,
             const TensorView& tokens) const;
  void embed_video(ExecContext& ctx, const TensorView& pose);
  void embed_reference(ExecContext& ctx, const TensorView& reference, const TensorView& tokens);
  void embed_motion(ExecContext& ctx, const TensorView& motion, const TensorView& tokens);

  const WanTransformer& model;
  Tensor extra_tokens;  // [n, dim]: the reference's, then the motion's
  Tensor video_weight;  // [dim, values of a patch of latent and pose]; empty without a pose
  Linear video_embedding;
  std::vector<Tensor> biases;
  std::vector<std::unique_ptr<AudioInjector>> injectors;  // by branch
  std::vector<Conditioning> branches;
};

TensorView SpeechConditioning::Parts::biased(ExecContext& ctx, const TensorView& bias, SegmentRow row,
                                             const TensorView& more) {
  const Tensor& sum = biases.emplace_back(ctx.backend.allocator(), DType::kF32, bias.shape());
  LinearCombinationArgs args{.terms = {{1.0, bias}, {1.0, weights().segments.select(0, row)}},
                             .out = sum.view()};
  if (more) args.terms.push_back({1.0, more});
  linear_combination(ctx, args);
  return sum;
}

void SpeechConditioning::Parts::embed(ExecContext& ctx, const TensorView& latent, const PatchSize& patch,
                                      const Linear& embedding, const TensorView& tokens) const {
  const Workspace::Scope scope(ctx.workspace);
  const TensorView patches = ctx.workspace.take(DType::kF32, {tokens.dim(0), embedding.weight.dim(1)});
  patchify(ctx, {.latent = latent, .patch = patch, .first_token = 0, .tokens = patches});
  embedding(ctx, patches, tokens);
}

void SpeechConditioning::Parts::embed_video(ExecContext& ctx, const TensorView& pose) {
  const Linear own = model.weights().patch_embedding();
  video_embedding = {.weight = own.weight, .bias = biased(ctx, own.bias, kVideoRow, weights().pose.bias)};
  if (!pose) return;  // the pose's embedding of latents of 0 is its bias
  const TensorView posed = weights().pose.matrix();
  const std::int64_t split = own.weight.dim(1);
  video_weight = Tensor(ctx.backend.allocator(), DType::kF32, {config().dim, split + posed.dim(1)});
  copy(ctx, {own.weight, video_weight.view().slice(1, 0, split)});
  copy(ctx, {posed, video_weight.view().slice(1, split, video_weight.dim(1))});
  video_embedding.weight = video_weight;
}

void SpeechConditioning::Parts::embed_reference(ExecContext& ctx, const TensorView& reference,
                                                const TensorView& tokens) {
  const Linear own = model.weights().patch_embedding();
  embed(ctx, reference, config().patch, {.weight = own.weight, .bias = biased(ctx, own.bias, kReferenceRow)},
        tokens);
}

void SpeechConditioning::Parts::embed_motion(ExecContext& ctx, const TensorView& motion,
                                             const TensorView& tokens) {
  const Workspace::Scope scope(ctx.workspace);
  const auto pack_into = [&](const TensorView& out, bool with_segment) {
    std::int64_t first = 0;
    for (int pack = 0; pack < 3; ++pack) {
      const MotionPack& frames = kMotionPacks[pack];
      const PatchEmbeddingWeights& packer = weights().motion[pack];
      const PatchSize patch = motion_patch(config(), pack);
      const Workspace::Scope one(ctx.workspace);
      const TensorView latents =
          ctx.workspace.take(DType::kF32, {motion.dim(0), frames.latents, motion.dim(2), motion.dim(3)});
      copy(ctx, {motion.slice(1, frames.first, frames.first + frames.latents), latents});
      const std::int64_t count =
          frames.latents / patch[0] * (motion.dim(2) / patch[1]) * (motion.dim(3) / patch[2]);
      const TensorView bias = with_segment ? biased(ctx, packer.bias, kMotionRow) : packer.bias;
      embed(ctx, latents, patch, {.weight = packer.matrix(), .bias = bias},
            out.slice(0, first, first + count));
      first += count;
    }
  };
  ctx.enter("motion_tokens");
  if (ctx.taps) {  // as the frame packer gives them: without what marks the segment
    pack_into(tokens, false);
    ctx.tap("motion_tokens", tokens);
  }
  pack_into(tokens, true);
}

SpeechConditioning::SpeechConditioning(ExecContext& ctx, const WanTransformer& model,
                                       const SpeechInput& input, int branches)
    : parts_(std::make_unique<Parts>(model)) {
  Parts& parts = *parts_;
  const WanConfig& config = model.config();
  WAN_CHECK(config.speech.has_value() && branches >= 1 && branches <= 2, kInternal,
            "[speech conditioning] of {} branches, model type {}", branches, config.model_type);
  check_input(config, input);
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t reference = extra_speech_tokens(config, input.reference.shape(), false);
  const std::int64_t extra = extra_speech_tokens(config, input.reference.shape(), !input.motion.empty());
  parts.extra_tokens = Tensor(ctx.backend.allocator(), DType::kF32, {extra, config.dim});
  parts.embed_video(ctx, input.pose);
  parts.embed_reference(ctx, input.reference, parts.extra_tokens.view().slice(0, 0, reference));
  if (input.motion)
    parts.embed_motion(ctx, input.motion, parts.extra_tokens.view().slice(0, reference, extra));
  for (int branch = 0; branch < branches; ++branch) {
    const bool heard = branch == 0;
    AudioTokens tokens = encode_audio(ctx, config, parts.weights().audio, input.audio, heard);
    ctx.tap(heard ? "audio_tokens" : "audio_tokens_uncond", tokens.local);
    ctx.tap(heard ? "audio_global" : "audio_global_uncond", tokens.global);
    parts.injectors.push_back(std::make_unique<AudioInjector>(config, std::move(tokens), reference,
                                                              model.compute_dtype(), model.tap_prefix()));
    Conditioning& made = parts.branches.emplace_back();
    made.channels = input.pose;
    made.video_embedding = parts.video_embedding;
    made.extra_tokens = parts.extra_tokens;
    made.stages = {parts.injectors.back().get()};
  }
}

SpeechConditioning::~SpeechConditioning() = default;

const Conditioning& SpeechConditioning::branch(int index) const {
  return parts_->branches.at(static_cast<std::size_t>(index));
}

}  // namespace wan
