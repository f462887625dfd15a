#include "engine/loaded_models.h"

#include <algorithm>

#include "base/files.h"
#include "engine/on_device.h"
#include "engine/tokenizer_part.h"
#include "engine/vae_factory.h"
#include "layouts/lora.h"
#include "layouts/part.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

/// What a person calls transformer `index` of a checkpoint that has `count`.
const char* transformer_title(std::size_t index, std::size_t count) {
  if (count == 1) return "transformer";
  return index == 0 ? "low-noise expert" : "high-noise expert";
}

/// Begins tap names, as the official pipelines' members are called.
const char* transformer_prefix(std::size_t index, std::size_t count) {
  if (count == 1) return "model.";
  return index == 0 ? "low_noise_model." : "high_noise_model.";
}

/// Scopes on fresh reports, and the groups of blocks that residencies serve.
struct Scopes {
  using Make = std::function<WeightScope(WeightReport&)>;

  Scopes(const CheckpointModels& models, const Make& make, const Make& make_text_encoder) {
    const std::size_t count = models.transformer_checkpoints.size();
    for (std::size_t i = 0; i < count; ++i)
      add(models.transformer_checkpoints[i], transformer_title(i, count), make);
    add(models.text_checkpoint, "text encoder", make_text_encoder);
    add(models.vae_checkpoint, "VAE", make);
  }

  /// A transformer's group is its number.
  std::vector<BlockGroup> transformer_groups(const CheckpointModels& models,
                                             const ModelShares& shares) const {
    std::vector<BlockGroup> result;
    for (std::size_t i = 0; i < models.transformers.size(); ++i) {
      const WanConfig& config = models.transformers[i];
      const auto layers = static_cast<int>(config.num_layers);
      result.push_back({scopes[i], with_packed(wan_block_layout(config), scopes[i], layers), layers,
                        shares.transformers[i]});
    }
    return result;
  }
  BlockGroup text_encoder_group(const CheckpointModels& models, const ModelShares& shares) const {
    const auto layers = static_cast<int>(models.text_encoder.num_layers);
    return {text_encoder(), with_packed(umt5_block_layout(models.text_encoder), text_encoder(), layers),
            layers, shares.text_encoder};
  }

  const WeightScope& text_encoder() const { return scopes[scopes.size() - 2]; }
  const WeightScope& vae() const { return scopes.back(); }

  void add(const Checkpoint& checkpoint, const char* title, const Make& make) {
    reports.push_back(std::make_unique<WeightReport>(checkpoint, title));
    scopes.push_back(make(*reports.back()));
  }

  std::vector<std::unique_ptr<WeightReport>> reports;
  std::vector<WeightScope> scopes;  // transformers, text encoder, VAE
};

/// The published checkpoint has it twice.
std::filesystem::path relighting_lora_of(const std::filesystem::path& ckpt_dir) {
  const std::filesystem::path names[] = {ckpt_dir / "relighting_lora.ckpt",
                                         ckpt_dir / "relighting_lora" / "adapter_model.safetensors"};
  for (const std::filesystem::path& name : names)
    if (file_exists(name)) return name;
  fail(ErrorCode::kBadFile,
       "{} has neither relighting_lora.ckpt nor relighting_lora/adapter_model.safetensors, which "
       "`use_relighting_lora` needs; download one of them",
       ckpt_dir.string());
}

std::unique_ptr<Tokenizer> read_tokenizer_of(const CheckpointFiles& files) {
  return read_tokenizer_part(files.tokenizer.empty() ? files.text_encoder : files.tokenizer);
}

/// What of the LoRAs is for this expert of `count`.
std::vector<LoraUse> loras_of(std::span<const LoraFile> loras, std::size_t index, std::size_t count) {
  std::vector<LoraUse> uses;
  for (const LoraFile& lora : loras) {
    const std::string named(expert_in_name(lora.file.filename().string()));
    const std::string& expert = lora.expert.empty() ? named : lora.expert;
    WAN_CHECK(count == 2 || lora.expert.empty(), kInvalidArgument,
              "`lora` {}@{}: this model has one transformer; leave @{} out", lora.file.string(), lora.expert,
              lora.expert);
    if (count == 1 || expert.empty() || expert == (index == 0 ? "low" : "high"))
      uses.push_back({lora.file, lora.strength});
  }
  return uses;
}

void merge_all(std::span<const LoraFile> loras, bool allow_unmatched, CheckpointModels& models) {
  const std::size_t count = models.transformer_checkpoints.size();
  for (const LoraFile& lora : loras) models.lora_files.push_back(lora.file);
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<LoraUse> uses = loras_of(loras, i, count);
    if (models.relighting) uses.push_back({.file = models.relighting->file(), .complete = true});
    LoraMerge merge = with_field(loras.empty() ? "ckpt_dir" : "lora", [&] {
      return merge_loras(models.transformer_checkpoints[i], uses, transformer_title(i, count),
                         count == 2 && i == 0, allow_unmatched);
    });
    models.transformer_checkpoints[i] = std::move(merge.transformer);
    for (std::string& notice : merge.notices) models.lora_notices.push_back(std::move(notice));
  }
}

/// Models that were not made for one another are told before any of them runs.
void check_parts_fit(const CheckpointModels& models) {
  const WanConfig& config = models.config();
  for (const WanConfig& other : models.transformers) {
    WAN_CHECK(config.model_type == other.model_type && config.in_dim == other.in_dim &&
                  config.out_dim == other.out_dim && config.patch == other.patch &&
                  config.text_len == other.text_len && config.head_dim() == other.head_dim(),
              kBadFile,
              "the two experts in {} do not belong together: their dimensions differ; take both folders from "
              "one checkpoint",
              models.files.place());
    WAN_CHECK(config.eps == other.eps, kBadFile,
              "the two experts in {} do not belong together: \"eps\" is {} and {} in their config.json; "
              "take both folders from one checkpoint",
              models.files.place(), config.eps, other.eps);
    WAN_CHECK(
        models.text_encoder.dim == other.text_dim, kBadFile,
        "{} gives vectors of {}, the transformers take {}: it is another model's text encoder; put there "
        "the one that came with the transformers",
        models.files.text_encoder.string(), models.text_encoder.dim, other.text_dim);
  }
  if (models.audio_encoder) {
    const SpeechConfig& speech = *config.speech;
    WAN_CHECK(
        speech.audio_dim == models.audio_encoder->dim &&
            speech.audio_layers == models.audio_encoder->num_layers + 1,
        kBadFile,
        "{} gives {} layers of {} features, the transformer takes {} of {}: it is another model's audio "
        "encoder; put there the one that came with the transformer",
        models.files.audio_encoder.string(), models.audio_encoder->num_layers + 1, models.audio_encoder->dim,
        speech.audio_layers, speech.audio_dim);
  }
  if (models.image_encoder)
    WAN_CHECK(config.animate->image_dim == models.image_encoder->dim, kBadFile,
              "{} gives vectors of {}, the transformer takes {}: it is another model's image encoder; put "
              "there the "
              "one that came with the transformer",
              models.files.image_encoder.string(), models.image_encoder->dim, config.animate->image_dim);
  const VaeGeometry vae = models.vae->geometry();
  WAN_CHECK(!config.animate || config.animate->pose_dim == vae.z_dim, kBadFile,
            "{} has {} latent channels, the transformer takes poses of {}: it is another model's VAE",
            models.files.vae.string(), vae.z_dim, config.animate->pose_dim);
  WAN_CHECK(
      vae.z_dim == config.out_dim, kBadFile,
      "{} has {} latent channels, the transformers {}: it is another model's VAE; put there the {} of {}",
      models.files.vae.string(), vae.z_dim, config.out_dim, models.task().facts().vae_file(),
      models.task().facts().checkpoint);
  const std::int64_t in_dim = config.out_dim + models.task().condition_channels(vae);
  WAN_CHECK(
      config.in_dim == in_dim, kBadFile,
      "{} holds transformers of type \"{}\" that take {} channels; {} takes {}: config.json and tensors "
      "are of different models, download both again",
      models.files.place(), config.model_type, config.in_dim, models.task().facts().name, in_dim);
}

/// The most that a thread takes at a time to change weights of these, beside the piece that it fills.
std::size_t staging_bytes(std::span<const Checkpoint> checkpoints) {
  std::size_t most = 0;
  for (const Checkpoint& checkpoint : checkpoints)
    for (const TensorEntry& entry : checkpoint.entries()) {
      if (entry.change == nullptr) continue;
      const std::int64_t count =
          std::min(entry.elements(), static_cast<std::int64_t>(kWeightPieceBytes / dtype_size(DType::kBF16)));
      most = std::max(most,
                      static_cast<std::size_t>(count) * sizeof(float) + entry.change->scratch_bytes(count));
    }
  return most;
}

}  // namespace

CheckpointModels::CheckpointModels(const std::filesystem::path& ckpt_dir, const VaePrecision& precision,
                                   const CheckpointParts& parts, std::span<const LoraFile> loras,
                                   bool lora_allow_unmatched, bool use_relighting_lora)
    : files(find_checkpoint_files(ckpt_dir, parts)),
      text_checkpoint(open_part(files.text_encoder, PartKind::kTextEncoder)),
      vae_checkpoint(open_part(files.vae, PartKind::kVae)),
      vae_precision(precision) {
  const std::size_t count = files.transformers.size();
  for (const std::filesystem::path& path : files.transformers)
    transformer_checkpoints.push_back(open_part(path, PartKind::kTransformer));
  if (use_relighting_lora) {
    WAN_CHECK_FIELD(files.task->facts().takes_source, kInvalidArgument, "use_relighting_lora",
                    "`use_relighting_lora`: {} has no such LoRA; {} has", files.task->facts().checkpoint,
                    task_names([](const TaskFacts& facts) { return facts.takes_source; }, "or"));
    relighting = Checkpoint::open(relighting_lora_of(files.root));
  }
  merge_all(loras, lora_allow_unmatched, *this);
  std::vector<WeightReport> reports;
  for (std::size_t i = 0; i < count; ++i) {
    reports.emplace_back(transformer_checkpoints[i], transformer_title(i, count));
    transformers.push_back(check_transformer(files.transformers[i], reports.back()));
  }
  WeightReport text(text_checkpoint, "text encoder");
  text_encoder = check_text_encoder(text);
  std::optional<WeightReport> audio;
  if (files.task->facts().takes_sound) {
    audio_checkpoint = Checkpoint::open(files.audio_encoder);
    audio.emplace(*audio_checkpoint, "audio encoder");
    audio_encoder = check_audio_encoder(files.audio_encoder, *audio);
  }
  std::optional<WeightReport> image;
  if (files.task->facts().takes_source) {
    image_checkpoint = open_part(files.image_encoder, PartKind::kImageEncoder);
    image.emplace(*image_checkpoint, "image encoder");
    image_encoder = check_image_encoder(*image);
  }
  vae_report = std::make_unique<WeightReport>(vae_checkpoint, "VAE");
  vae = make_vae(WeightScope::describing(*vae_report), vae_precision);
  std::vector<const WeightReport*> findings;
  for (auto report = reports.rbegin(); report != reports.rend(); ++report) findings.push_back(&*report);
  findings.insert(findings.end(), {&text, vae_report.get()});
  if (audio) findings.push_back(&*audio);
  if (image) findings.push_back(&*image);
  throw_findings(findings);
  check_parts_fit(*this);
}

const Tokenizer& CheckpointModels::tokenizer() const {
  const std::lock_guard lock(tokenizer_mutex_);
  if (tokenizer_) return *tokenizer_;
  std::unique_ptr<Tokenizer> read = with_field("ckpt_dir", [&] { return read_tokenizer_of(files); });
  WAN_CHECK_FIELD(
      read->vocabulary_size() <= text_encoder.vocabulary, kBadFile, "ckpt_dir",
      "{}: knows {} tokens, the text encoder beside it {}; both must be of one checkpoint: get them again",
      (files.tokenizer.empty() ? files.text_encoder : files.tokenizer).string(), read->vocabulary_size(),
      text_encoder.vocabulary);
  tokenizer_ = std::move(read);
  return *tokenizer_;
}

std::vector<const Checkpoint*> CheckpointModels::checkpoints() const {
  std::vector<const Checkpoint*> all;
  for (const Checkpoint& checkpoint : transformer_checkpoints) all.push_back(&checkpoint);
  all.push_back(&text_checkpoint);
  all.push_back(&vae_checkpoint);
  if (audio_checkpoint) all.push_back(&*audio_checkpoint);
  if (image_checkpoint) all.push_back(&*image_checkpoint);
  if (relighting) all.push_back(&*relighting);
  return all;
}

ModelShapes CheckpointModels::shapes() const {
  const auto packed = [](const Checkpoint& checkpoint, BlockLayout layout, std::int64_t layers) {
    WeightReport report(checkpoint, "model");
    return with_packed(std::move(layout), WeightScope::describing(report), static_cast<int>(layers)).packed;
  };
  std::vector<PackedWeights> packed_transformers;
  for (std::size_t i = 0; i < transformers.size(); ++i)
    packed_transformers.push_back(
        packed(transformer_checkpoints[i], wan_block_layout(transformers[i]), transformers[i].num_layers));
  return {.transformers = transformers,
          .text_encoder = text_encoder,
          .vae = read_vae_config(WeightScope::describing(*vae_report)),
          .vae_precision = vae_precision,
          .audio_encoder = audio_encoder,
          .image_encoder = image_encoder,
          .packed_transformers = std::move(packed_transformers),
          .packed_text_encoder =
              packed(text_checkpoint, umt5_block_layout(text_encoder), text_encoder.num_layers),
          .lora_staging = staging_bytes(transformer_checkpoints)};
}

LoadedModels::LoadedModels(const CheckpointModels& models, Backend& backend, Backend& text_backend,
                           const LoadOptions& options, const ModelShares& shares,
                           const LoadProgress& progress)
    : models_(models) {
  const auto loading = [](Backend& to, DType weights) {
    return [&to, weights](WeightReport& report) { return WeightScope(report, target_of(to, weights)); };
  };
  Scopes scopes(models, loading(backend, options.weights), loading(text_backend, options.text_weights()));
  std::vector<BlockGroup> groups = scopes.transformer_groups(models, shares);
  const std::optional<LoadOptions::Blocks>& text_host = options.text_encoder_host;
  BlockGroup text_group = scopes.text_encoder_group(models, shares);
  if (!options.has_text_encoder()) {
    // another rank's
  } else if (text_host) {
    text_residency_ = make_residency({std::move(text_group)}, text_host->residency);
  } else if (options.text_encoder_has_places()) {
    text_residency_ = make_residency({std::move(text_group)}, on_device(options.text_places(), backend));
  } else {
    groups.push_back(std::move(text_group));
  }
  residency_ = make_residency(std::move(groups), on_device(options.residency, backend));
  backend.synchronize();  // the blocks' memory is there, for uploads beside other work
  std::size_t loaded = 0;
  const LoadProgress further = [&](std::size_t done, std::size_t total) {
    if (progress) progress(loaded + done, loaded + total);
  };
  const bool text_is_ready = options.text_encoder_has_places() ||
                             (text_host && text_host->residency.kind == ResidencyKind::kResident);
  if (text_residency_ && text_is_ready) {
    text_residency_->preload(further);
    loaded = text_residency_->bytes();
  }
  // Streamed blocks that are not divided wait for the schedule.
  if (options.residency.kind == ResidencyKind::kResident || options.sharding.ranks > 1)
    residency_->preload(further);
  const std::size_t count = models.transformers.size();
  const DType compute = compute_dtype(backend, options.weights);
  for (std::size_t i = 0; i < count; ++i) {
    transformers_.push_back(std::make_unique<WanTransformer>(models.transformers[i], scopes.scopes[i],
                                                             *residency_, static_cast<int>(i), compute,
                                                             transformer_prefix(i, count)));
  }
  if (options.has_text_encoder())
    text_encoder_ = std::make_unique<Umt5Encoder>(
        models.text_encoder, scopes.text_encoder(), text_residency_ ? *text_residency_ : *residency_,
        text_residency_ ? 0 : static_cast<int>(count), "text_encoder.");
  vae_ = make_vae(scopes.vae(), models.vae_precision);
  if (models.audio_encoder) {
    scopes.reports.push_back(std::make_unique<WeightReport>(*models.audio_checkpoint, "audio encoder"));
    const WeightScope top(*scopes.reports.back(), target_of(backend, DType::kF32));
    const Wav2Vec2Config& config = *models.audio_encoder;
    audio_residency_ = make_residency(
        {{wav2vec2_scope(top), wav2vec2_block_layout(config), static_cast<int>(config.num_layers)}},
        on_device(kEncoderPlaces, backend));
    audio_residency_->set_schedule({});  // the places take memory once there is a sound to hear
    audio_encoder_ = std::make_unique<Wav2Vec2>(config, top, *audio_residency_, 0, "audio_encoder.");
  }
  if (models.image_encoder) {
    scopes.reports.push_back(std::make_unique<WeightReport>(*models.image_checkpoint, "image encoder"));
    const WeightScope visual =
        WeightScope(*scopes.reports.back(), target_of(backend, DType::kF32)).child("visual");
    const ClipConfig& config = *models.image_encoder;
    image_residency_ =
        make_residency({{visual, clip_block_layout(config), static_cast<int>(config.num_layers)}},
                       on_device(kEncoderPlaces, backend));
    image_residency_->set_schedule({});  // the places take memory once there is a picture to look at
    image_encoder_ = std::make_unique<ClipVision>(config, visual, *image_residency_, 0, "image_encoder.");
  }
  reports_ = std::move(scopes.reports);
}

void LoadedModels::set_feed_forward_pieces(int pieces) {
  for (const std::unique_ptr<WanTransformer>& transformer : transformers_)
    transformer->set_feed_forward_pieces(pieces);
}

PipelineModels LoadedModels::pipeline() const {
  Experts experts{};
  for (std::size_t i = 0; i < transformers_.size(); ++i) experts[i] = transformers_[i].get();
  return {.tokenizer = models_.tokenizer(),
          .text_encoder = text_encoder_.get(),
          .experts = experts,
          .residency = *residency_,
          .vae = *vae_,
          .audio_encoder = audio_encoder_.get(),
          .audio_residency = audio_residency_.get(),
          .image_encoder = image_encoder_.get(),
          .image_residency = image_residency_.get()};
}

}  // namespace wan
