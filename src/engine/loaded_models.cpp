#include "engine/loaded_models.h"

namespace wan {

namespace {

constexpr std::array<const char*, 2> kExpertTitles = {"low-noise expert", "high-noise expert"};

WeightTarget target_of(Backend& backend, DType compute) {
  WeightTarget target{.allocator = &backend.allocator(), .compute_dtype = compute};
  if (backend.device().kind != DeviceKind::kCpu)
    target.upload = [&backend](const TensorView& host, const TensorView& device) {
      backend.upload(host, device);
    };
  return target;
}

/// Scopes on fresh reports, and the groups of blocks that a residency serves.
struct Scopes {
  Scopes(const CheckpointModels& models, const std::function<WeightScope(WeightReport&)>& make) {
    for (std::size_t expert = 0; expert < 2; ++expert)
      add(models.expert_checkpoints[expert], kExpertTitles[expert], make);
    add(models.text_checkpoint, "text encoder", make);
    add(models.vae_checkpoint, "VAE", make);
  }

  std::vector<BlockGroup> groups(const CheckpointModels& models) const {
    std::vector<BlockGroup> result;
    for (std::size_t expert = 0; expert < 2; ++expert) {
      const WanConfig& config = models.experts[expert].config;
      result.push_back({scopes[expert], wan_block_layout(config), static_cast<int>(config.num_layers)});
    }
    result.push_back({scopes[kTextEncoderGroup], umt5_block_layout(models.text_encoder),
                      static_cast<int>(models.text_encoder.num_layers)});
    return result;
  }

  void add(const Checkpoint& checkpoint, const char* title,
           const std::function<WeightScope(WeightReport&)>& make) {
    reports.push_back(std::make_unique<WeightReport>(checkpoint, title));
    scopes.push_back(make(*reports.back()));
  }

  std::vector<std::unique_ptr<WeightReport>> reports;
  std::vector<WeightScope> scopes;  // low noise, high noise, text encoder, VAE
};

}  // namespace

CheckpointModels::CheckpointModels(const std::filesystem::path& ckpt_dir)
    : files(find_checkpoint_files(ckpt_dir)),
      expert_checkpoints{Checkpoint::open(files.experts[0]), Checkpoint::open(files.experts[1])},
      text_checkpoint(Checkpoint::open(files.text_encoder)),
      vae_checkpoint(Checkpoint::open(files.vae)) {
  WeightReport low(expert_checkpoints[0], kExpertTitles[0]);
  WeightReport high(expert_checkpoints[1], kExpertTitles[1]);
  WeightReport text(text_checkpoint, "text encoder");
  WeightReport vae_report(vae_checkpoint, "VAE");
  experts = {check_transformer(files.experts[0], low), check_transformer(files.experts[1], high)};
  text_encoder = check_text_encoder(text);
  vae = check_vae(vae_report);
  const WeightReport* const reports[] = {&high, &low, &text, &vae_report};
  throw_findings(reports);
  const WanConfig& config = experts[0].config;
  WAN_CHECK(config.model_type == "t2v" && config.in_dim == config.out_dim, kUnsupported,
            "{} holds a model of type \"{}\" with {} channels in and {} out; this version has t2v",
            ckpt_dir.string(), config.model_type, config.in_dim, config.out_dim);
  const WanConfig& other = experts[1].config;
  WAN_CHECK(config.out_dim == other.out_dim && config.in_dim == other.in_dim && config.patch == other.patch &&
                config.text_len == other.text_len && config.head_dim() == other.head_dim(),
            kBadFile, "the two experts in {} do not belong together: their dimensions differ",
            ckpt_dir.string());
  WAN_CHECK(vae.z_dim == config.out_dim, kBadFile, "the VAE has {} latent channels, the transformers {}",
            vae.z_dim, config.out_dim);
  WAN_CHECK(text_encoder.dim == config.text_dim && text_encoder.dim == other.text_dim, kBadFile,
            "the text encoder gives vectors of {}, the transformers take {}", text_encoder.dim,
            config.text_dim);
}

const Tokenizer& CheckpointModels::tokenizer() const {
  if (tokenizer_) return *tokenizer_;
  tokenizer_ = load_tokenizer(files.tokenizer);
  WAN_CHECK(tokenizer_->vocabulary_size() <= text_encoder.vocabulary, kBadFile,
            "the tokenizer knows {} tokens, the text encoder {}", tokenizer_->vocabulary_size(),
            text_encoder.vocabulary);
  return *tokenizer_;
}

std::size_t CheckpointModels::vae_bytes() const {
  std::size_t bytes = 0;
  for (const TensorEntry& entry : vae_checkpoint.entries())
    bytes += static_cast<std::size_t>(entry.elements()) * 4;
  return bytes;
}

std::size_t planned_residency_bytes(const CheckpointModels& models, Backend& backend,
                                    const LoadOptions& options) {
  const Scopes scopes(models,
                      [&](WeightReport& report) { return WeightScope::describing(report, options.weights); });
  static_cast<void>(backend);
  return residency_bytes(scopes.groups(models), options.residency);
}

LoadedModels::LoadedModels(const CheckpointModels& models, Backend& backend, const LoadOptions& options,
                           const LoadProgress& progress)
    : models_(models) {
  Scopes scopes(
      models, [&](WeightReport& report) { return WeightScope(report, target_of(backend, options.weights)); });
  residency_ = make_residency(scopes.groups(models), options.residency);
  if (options.residency.kind == ResidencyKind::kResident) residency_->preload(progress);
  for (const Expert expert : {Expert::kLowNoise, Expert::kHighNoise}) {
    const auto index = static_cast<std::size_t>(expert);
    // Activations stay in f32 on the CPU, whatever the weights' dtype.
    experts_[index] = std::make_unique<WanTransformer>(models.experts[index].config, scopes.scopes[index],
                                                       *residency_, static_cast<int>(index), DType::kF32,
                                                       std::string(expert_name(expert)) + "_model.");
  }
  text_encoder_ = std::make_unique<Umt5Encoder>(models.text_encoder, scopes.scopes[kTextEncoderGroup],
                                                *residency_, kTextEncoderGroup, "text_encoder.");
  vae_ = std::make_unique<Vae21>(scopes.scopes[3]);
  reports_ = std::move(scopes.reports);
}

}  // namespace wan
