#include "engine/rehearsal.h"

#include <algorithm>
#include <span>

#include "engine/load_options.h"
#include "engine/vae_factory.h"
#include "models/clip/clip_vision.h"
#include "models/umt5/umt5_encoder.h"
#include "models/wan/animate/animate_conditioning.h"
#include "models/wan/context_cache.h"
#include "models/wan/s2v/speech_conditioning.h"
#include "models/wan/transformer.h"
#include "models/wav2vec2/wav2vec2.h"

namespace wan {

namespace {

constexpr const char* kNoFile = "no file";

/// Blocks without values. Their memory counts elsewhere: it depends on the residency, and the passes do not.
class RehearsedBlocks final : public BlockResidency {
 public:
  RehearsedBlocks(const BlockLayout& layout, std::int64_t count, DType weights, Device device)
      : memory_(addresses_, block_bytes(layout, weights)) {
    for (int index = 0; index < static_cast<int>(count); ++index) {
      views_.push_back(block_views(layout, weights, index, memory_.data(), device));
      additions_.push_back(block_additions(layout, weights, index, memory_.data(), device));
    }
  }

  void preload(const LoadProgress&) override {}
  void set_schedule(std::span<const BlockId>) override {}
  BlockLease acquire(BlockId id) override {
    const auto index = static_cast<std::size_t>(id.index);
    return make_lease(0, {views_[index], additions_[index]});
  }
  std::size_t bytes() const override { return memory_.size(); }
  ResidencyStats stats() const override { return {}; }

 private:
  void release(std::size_t) noexcept override {}

  AddressAllocator addresses_;
  Buffer memory_;
  std::vector<std::vector<TensorView>> views_;  // by block
  std::vector<std::vector<LowRankViews>> additions_;
};

struct RehearsedText {
  RehearsedText(const ModelShapes& models, DType weights, CountingBackend& backend)
      : report(Checkpoint::from_files({}, kNoFile), "text encoder"),
        blocks(models.text_encoder_layout(), models.text_encoder.num_layers, weights, backend.device()),
        encoder(models.text_encoder, WeightScope::rehearsing(report, backend.allocator(), weights), blocks, 0,
                "") {}

  Tensor encode(ExecContext& ctx, std::int64_t tokens) const {
    const std::vector<std::int64_t> ids(static_cast<std::size_t>(tokens), 0);
    Tensor context(ctx.backend.allocator(), DType::kF32, {tokens, encoder.config().dim});
    encoder.encode(ctx, ids, context);
    return context;
  }

  WeightReport report;
  RehearsedBlocks blocks;
  Umt5Encoder encoder;
};

struct RehearsedTransformer {
  RehearsedTransformer(const ModelShapes& models, std::size_t index, DType weights, CountingBackend& backend)
      : report(Checkpoint::from_files({}, kNoFile), "transformer"),
        blocks(models.transformer_layout(index), models.transformers[index].num_layers, weights,
               backend.device()),
        model(models.transformers[index], WeightScope::rehearsing(report, backend.allocator(), weights),
              blocks, 0, compute_dtype(backend, weights), "") {}

  WeightReport report;
  RehearsedBlocks blocks;
  WanTransformer model;
};

/// The first rank of several machines with so many ranks each.
struct IdleMachines {
  /// `packs`: see IdleCommunicator.
  IdleMachines(int machines, int ranks_of_each, Allocator* packs)
      : within(ranks_of_each, packs), across(machines, packs) {
    for (int rank = 0; rank < machines * ranks_of_each; ++rank) {
      if (rank % ranks_of_each == 0) ranks.emplace_back();
      ranks.back().push_back(rank);
    }
    all.ranks = ranks;
  }
  IdleMachines(const IdleMachines&) = delete;
  IdleMachines& operator=(const IdleMachines&) = delete;
  IdleCommunicator within, across;
  std::vector<std::vector<int>> ranks = {};
  MachineRanks all{within, across, {}};
};

struct RehearsedAudio {
  RehearsedAudio(const Wav2Vec2Config& config, CountingBackend& backend)
      : report(Checkpoint::from_files({}, kNoFile), "audio encoder"),
        blocks(wav2vec2_block_layout(config), config.num_layers, DType::kF32, backend.device()),
        model(config, WeightScope::rehearsing(report, backend.allocator(), DType::kF32), blocks, 0, "") {}

  WeightReport report;
  RehearsedBlocks blocks;
  Wav2Vec2 model;
};

/// What a clip of a sound's video is made from, on the device, and what the transformer makes of it.
struct RehearsedClip {
  RehearsedClip(ExecContext& ctx, const WanTransformer& model, const RehearsedRun& run, int branches) {
    const SpeechConfig& speech = *model.config().speech;
    const Shape& latent = run.latent;
    const auto latents = [&](std::int64_t frames) {
      return Tensor(ctx.backend.allocator(), DType::kF32, {latent[0], frames, latent[2], latent[3]});
    };
    audio = Tensor(ctx.backend.allocator(), DType::kF32, {speech.audio_dim, kFramesOfLatent * latent[1]});
    decoded = latents(run.decoded_latents);
    kept_reference = latents(1);
    reference = latents(1);
    motion = latents(kMotionLatents);
    pose = latents(latent[1]);
    if (run.backend.device().kind == DeviceKind::kCpu) host = host_memory(ctx, speech, run);
    conditioning.emplace(ctx, model,
                         SpeechInput{.audio = audio, .reference = reference, .motion = motion, .pose = pose},
                         branches);
  }

  /// Of the frames before a clip, those that will be before the next one, and what all frames hear.
  static Tensor host_memory(ExecContext& ctx, const SpeechConfig& speech, const RehearsedRun& run) {
    constexpr std::int64_t kPixels = 8 * 8;  // of a latent
    const std::int64_t frames = 2 * kMotionFrames * run.latent[2] * run.latent[3] * kPixels * 3;
    const std::int64_t heard = run.segments * speech.audio_dim * kFramesOfLatent * run.latent[1];
    return {ctx.backend.allocator(), DType::kF32, {frames + heard}};
  }

  static constexpr std::int64_t kFramesOfLatent = 4;
  Tensor audio, decoded, kept_reference, reference, motion, pose, host;
  std::optional<SpeechConditioning> conditioning;
};

/// What a clip of an animation is made from, on the device, and what the transformer makes of it.
struct RehearsedAnimation {
  RehearsedAnimation(ExecContext& ctx, const WanTransformer& model, const RehearsedRun& run,
                     const TensorView& channels, CountingBackend& backend)
      : report(Checkpoint::from_files({}, kNoFile), "image encoder"),
        blocks(clip_block_layout(*run.models.image_encoder), run.models.image_encoder->num_layers,
               DType::kF32, backend.device()),
        tower(*run.models.image_encoder, WeightScope::rehearsing(report, backend.allocator(), DType::kF32),
              blocks, 0, ""),
        tokens(backend.allocator(), DType::kF32, {tower.config().tokens(), tower.config().dim}) {
    const Shape& latent = run.latent;
    const AnimateConfig& config = *model.config().animate;
    const auto latents = [&](std::int64_t frames) {
      return Tensor(backend.allocator(), DType::kF32, {latent[0], frames, latent[2], latent[3]});
    };
    decoded = latents(run.decoded_latents);
    reference = latents(1);
    const std::int64_t frames = 4 * (latent[1] - 2) + 1;
    if (run.backend.device().kind == DeviceKind::kCpu) host = host_memory(ctx, config, latent, frames);
    look(ctx, backend);
    AnimateInput input{.channels = channels, .motion = {}};
    for (std::size_t branch = 0; branch < run.text_tokens.size(); ++branch)
      input.motion.push_back(
          motion.emplace_back(backend.allocator(), DType::kF32, Shape{frames, config.motion_dim}));
    watch(ctx, model, backend);
    ctx.workspace.release();
    character.emplace(ctx, model, tokens);
    conditioning.emplace(ctx, model, *character, input);
  }

  /// Bytes of the frames that readers hold, of poses, background and mask, of faces, and of the frames that are carried over.
  static Tensor host_memory(ExecContext& ctx, const AnimateConfig& config, const Shape& latent,
                            std::int64_t frames) {
    constexpr std::int64_t kPixels = 8 * 8;  // of a latent
    constexpr std::int64_t kCarried = 5;
    const std::int64_t frame = latent[2] * latent[3] * kPixels * 3;
    const std::int64_t face = config.face_size() * config.face_size() * 3;
    return {ctx.backend.allocator(), DType::kU8, {frames * (3 * frame + face) + 2 * kCarried * frame * 4}};
  }

  void look(ExecContext& ctx, CountingBackend& backend) const {
    const std::int64_t size = tower.config().image_size();
    const Tensor pixels(backend.allocator(), DType::kF32, {3, size, size});
    tower.encode(ctx, pixels, tokens);
    ctx.workspace.release();
  }
  void watch(ExecContext& ctx, const WanTransformer& model, CountingBackend& backend) const {
    const MotionEncoder& encoder = model.motion_encoder();
    const std::int64_t size = model.config().animate->face_size();
    const std::int64_t count = std::min(encoder.most_faces(), motion[0].dim(0));
    const Tensor faces(backend.allocator(), DType::kF32, {count, size, size, 3});
    encoder.encode(ctx, faces, motion[0].view().slice(0, 0, count));
  }

  WeightReport report;
  RehearsedBlocks blocks;
  ClipVision tower;
  Tensor tokens, decoded, reference, host;
  std::vector<Tensor> motion;
  std::optional<CharacterContext> character;
  std::optional<AnimateConditioning> conditioning;
};

/// What the images become: channels beside the latent where the transformers take them, otherwise the clip's latents.
Tensor condition_of(const RehearsedRun& run, Allocator& allocator) {
  const WanConfig& config = run.models.transformers[0];
  const Shape& latent = run.latent;
  if (config.animate)
    return {allocator, DType::kF32, {AnimateChannels(config).all(), latent[1], latent[2], latent[3]}};
  if (config.in_dim > config.out_dim)
    return {allocator, DType::kF32, {config.in_dim - config.out_dim, latent[1], latent[2], latent[3]}};
  if (!run.encodes) return {};
  return {allocator, DType::kF32, {latent[0], run.encodes->frames, latent[2], latent[3]}};
}

}  // namespace

RunRehearsal::RunRehearsal(const RehearsedRun& run)
    : vae_report_(std::make_unique<WeightReport>(Checkpoint::from_files({}, kNoFile), "VAE")),
      device_(&run.backend, run.layout.ranks(), run.packs) {
  if (run.text_apart) rehearse_text_apart(run);
  rehearse(run);
  if (run.encodes) encodes_ = vae_->encode_plans(*run.encodes, &run.backend, run.layout.ranks());
  decodes_ = vae_->decode_plans({run.decoded_latents, run.latent[2], run.latent[3]}, &run.backend,
                                run.layout.ranks());
}

RunRehearsal::~RunRehearsal() = default;

void RunRehearsal::rehearse_text_apart(const RehearsedRun& run) {
  Rehearsal host(run.text_backend);
  host.ctx.unpacked = run.text_weights;
  const RehearsedText text(run.models, run.text_weights, host.backend);
  for (const std::int64_t tokens : run.text_tokens) text.encode(host.ctx, tokens);
  bytes_.text_host = host.backend.take_peak();
}

void RunRehearsal::rehearse(const RehearsedRun& run) {
  CountingBackend& backend = device_.backend;
  ExecContext& ctx = device_.ctx;
  const Buffer libraries(backend.allocator(), static_cast<std::size_t>(run.backend.library_bytes()));
  std::int64_t before = backend.memory_use().now;
  const auto added = [&] {
    const std::int64_t now = backend.memory_use().now;
    return now - std::exchange(before, now);
  };

  std::vector<std::unique_ptr<RehearsedTransformer>> transformers;
  ctx.unpacked = run.weights;
  for (std::size_t i = 0; i < run.models.transformers.size(); ++i)
    transformers.push_back(std::make_unique<RehearsedTransformer>(run.models, i, run.weights, backend));
  bytes_.transformers = added();
  std::optional<RehearsedText> text;
  if (!run.text_apart) text.emplace(run.models, run.text_weights, backend);
  bytes_.text_encoder = added();
  vae_ = make_vae(WeightScope::rehearsing(*vae_report_, backend.allocator(), DType::kF32),
                  run.models.vae_precision, run.models.vae);
  bytes_.vae = added();
  std::optional<RehearsedAudio> audio;
  if (run.models.audio_encoder) audio.emplace(*run.models.audio_encoder, backend);
  bytes_.audio_encoder = added();
  const Tensor condition = condition_of(run, backend.allocator());
  bytes_.encoding_images = backend.memory_use().now;
  std::vector<Tensor> slots;
  const auto like_latent = [&] { return Tensor(backend.allocator(), DType::kF32, run.latent); };
  for (int slot = 0; slot < run.sampler_slots; ++slot) slots.push_back(like_latent());
  bytes_.decoding = backend.memory_use().now;
  bytes_.latents = added();

  const WanConfig& config = run.models.transformers[0];
  std::vector<Tensor> encoded;
  backend.take_peak();
  std::optional<RehearsedClip> clip;
  if (audio) {
    if (run.speech_samples > 0) audio->model.rehearse(ctx, run.speech_samples);
    const Wav2Vec2Config& heard = *run.models.audio_encoder;
    const std::size_t layers = 2 * block_bytes(wav2vec2_block_layout(heard), DType::kF32);
    bytes_.hearing = backend.take_peak() + static_cast<std::int64_t>(layers);
    ctx.workspace.release();
    clip.emplace(ctx, transformers[0]->model, run, static_cast<int>(run.text_tokens.size()));
    bytes_.clip = added();
  }
  std::optional<RehearsedAnimation> animation;
  if (config.animate) {
    animation.emplace(ctx, transformers[0]->model, run, condition, backend);
    const std::size_t layers = 2 * block_bytes(clip_block_layout(*run.models.image_encoder), DType::kF32);
    bytes_.hearing = backend.take_peak() + static_cast<std::int64_t>(layers);
    ctx.workspace.release();
    bytes_.clip = added();
  }
  for (const std::int64_t tokens : run.text_tokens)
    encoded.push_back(text ? text->encode(ctx, tokens)
                           : Tensor(backend.allocator(), DType::kF32, {tokens, config.text_dim}));
  bytes_.encoding_text = backend.take_peak();

  const Shape& latent = run.latent;
  const bool channels = config.in_dim > config.out_dim;
  const std::int64_t given = run.encodes && !channels ? run.encodes->frames : 0;
  const TokenLayout layout =
      clip ? speech_layout(config, latent, /*motion=*/true, run.layout.sequence, 0)
           : TokenLayout::video(latent[1] / config.patch[0], latent[2] / config.patch[1],
                                latent[3] / config.patch[2], run.layout.sequence, 0, given / config.patch[0]);
  Conditioning conditioning;
  if (channels) conditioning.channels = condition;
  const Tensor rope(backend.allocator(), DType::kF32, transformers[0]->model.rope_shape(layout));
  constexpr std::size_t kPredictions = 2;  // whether there are as many branches or not
  std::vector<Tensor> predictions;
  for (std::size_t i = 0; i < kPredictions; ++i) predictions.push_back(like_latent());
  const std::size_t longest =
      static_cast<std::size_t>(std::ranges::max_element(run.text_tokens) - run.text_tokens.begin());
  const double timesteps[] = {900.0, 0.0};
  ContextCache contexts(static_cast<int>(transformers.size()), static_cast<int>(encoded.size()));
  IdleMachines machines(run.layout.machines, run.layout.sequence / run.layout.machines,
                        run.packs ? &backend.allocator() : nullptr);
  if (run.layout.machines > 1) ctx.machines = &machines.all;
  for (std::size_t expert = transformers.size(); expert-- > 0;) {
    WanTransformer& model = transformers[expert]->model;
    model.set_feed_forward_pieces(run.feed_forward_pieces);
    std::vector<GuidanceBranch> branches;
    for (std::size_t branch = 0; branch < encoded.size(); ++branch) {
      if (run.layout.groups > 1 && branch != longest) continue;  // of the others, another group's
      TextContext& context = contexts.at(static_cast<int>(expert), static_cast<int>(branch));
      model.embed_text(ctx, encoded[branch], context);
      const auto number = static_cast<int>(branch);
      const Conditioning& own = clip        ? clip->conditioning->branch(number)
                                : animation ? animation->conditioning->branch(number)
                                            : conditioning;
      branches.push_back({&context, &own, predictions[branch]});
    }
    model.forward(ctx, {.latent = slots[0], .timesteps = timesteps, .layout = layout, .rope = rope},
                  branches);
  }
  ctx.machines = nullptr;
  bytes_.denoising = backend.take_peak();
  bytes_.latents += static_cast<std::int64_t>(kPredictions * predictions[0].bytes());
  bytes_.context_cache = static_cast<std::int64_t>(contexts.bytes());
  for (const Tensor& context : encoded) bytes_.context_cache += static_cast<std::int64_t>(context.bytes());
  if (clip || animation) {
    // Later clips are encoded and decoded beside what the steps of all of them need.
    const std::size_t held = clip ? clip->decoded.bytes() + clip->kept_reference.bytes() + clip->host.bytes()
                                  : animation->decoded.bytes() + animation->reference.bytes() +
                                        animation->host.bytes() + animation->character->bytes();
    bytes_.decoding += static_cast<std::int64_t>(held) + (run.segments > 1 ? bytes_.context_cache : 0);
    bytes_.encoding_images = bytes_.decoding;
  }
  bytes_.activations = bytes_.denoising - bytes_.transformers - bytes_.text_encoder - bytes_.vae -
                       bytes_.latents - bytes_.context_cache - bytes_.audio_encoder - bytes_.clip;
}

}  // namespace wan
