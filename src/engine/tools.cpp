#include "wan/tools.h"

#include "engine/checkpoint_files.h"
#include "engine/model_checks.h"
#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"
#include "text/tokenizer.h"
#include "weights/inspect.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr int kTextLength = 512;

using Dimensions = std::vector<std::pair<std::string, std::string>>;

Dimensions describe(const WanConfig& config) {
  return {{"type", config.model_type},
          {"dim", fmt::format("{}", config.dim)},
          {"ffn_dim", fmt::format("{}", config.ffn_dim)},
          {"heads", fmt::format("{} of {}", config.num_heads, config.head_dim())},
          {"layers", fmt::format("{}", config.num_layers)},
          {"channels", fmt::format("{} in, {} out", config.in_dim, config.out_dim)},
          {"patch", fmt::format("{}x{}x{}", config.patch[0], config.patch[1], config.patch[2])},
          {"text", fmt::format("{} tokens of {}", config.text_len, config.text_dim)}};
}

Dimensions describe(const Umt5Config& config) {
  return {{"vocabulary", fmt::format("{}", config.vocabulary)},
          {"dim", fmt::format("{}", config.dim)},
          {"ffn_dim", fmt::format("{}", config.dim_ffn)},
          {"heads", fmt::format("{} of {}", config.num_heads, config.head_dim())},
          {"layers", fmt::format("{}", config.num_layers)},
          {"buckets", fmt::format("{}", config.num_buckets)}};
}

std::string describe(const VaeGeometry& geometry) {
  return fmt::format("{}x{}x{}", geometry.temporal_stride, geometry.spatial_stride, geometry.spatial_stride);
}

Dimensions describe(const Vae21Config& config) {
  return {{"dim", fmt::format("{}", config.dim)},
          {"latent channels", fmt::format("{}", config.z_dim)},
          {"stride", describe(config.geometry())}};
}

Dimensions describe(const Vae22Config& config) {
  return {{"dim", fmt::format("{} encoder, {} decoder", config.encoder_dim, config.decoder_dim)},
          {"latent channels", fmt::format("{}", config.z_dim)},
          {"stride", describe(config.geometry())},
          {"patch", fmt::format("{0}x{0}", Vae22Config::kPatch)}};
}

/// Recognises a model by its tensors and checks it; a file that is no model of Wan2.2 is only listed.
void recognize(const Checkpoint& checkpoint, const fs::path& path, InspectedModel& model) {
  WeightReport report(checkpoint, model.path);
  if (checkpoint.find("patch_embedding.weight") != nullptr && fs::exists(path / "config.json")) {
    model.kind = "diffusion transformer";
    model.dimensions = describe(check_transformer(path, report).config);
  } else if (checkpoint.find("token_embedding.weight") != nullptr) {
    model.kind = "umT5 text encoder";
    model.dimensions = describe(check_text_encoder(report));
  } else if (looks_like_vae22(checkpoint)) {
    model.kind = "VAE 2.2";
    model.dimensions = describe(Vae22(WeightScope::describing(report)).config());
  } else if (checkpoint.find("decoder.conv1.weight") != nullptr) {
    model.kind = "VAE 2.1";
    model.dimensions = describe(Vae21(WeightScope::describing(report)).config());
  } else {
    model.kind = "tensors";
    return;
  }
  if (!report.clean()) model.findings = report.describe();
}

}  // namespace

TokenizedText tokenize(const fs::path& ckpt_dir, const std::string& prompt) {
  const fs::path folder = ckpt_dir / "google" / "umt5-xxl";
  WAN_CHECK(fs::is_directory(folder), kBadFile,
            "{} has no tokenizer: expected the folder google/umt5-xxl in it", ckpt_dir.string());
  const TokenizedPrompt tokens = load_tokenizer(folder)->tokenize(prompt, kTextLength);
  return {.cleaned = tokens.cleaned,
          .ids = {tokens.ids.begin(), tokens.ids.begin() + tokens.used},
          .limit = kTextLength,
          .truncated = tokens.truncated};
}

std::vector<InspectedModel> inspect(const fs::path& path) {
  std::vector<InspectedModel> models;
  for (const CheckpointFacts& facts : inspect_checkpoints(path)) {
    InspectedModel model;
    model.path = facts.path;
    model.bytes = static_cast<std::int64_t>(facts.total_bytes);
    for (const TensorFacts& tensor : facts.tensors) {
      const auto extents = tensor.shape.extents();
      model.tensors.push_back({tensor.name,
                               dtype_name(tensor.dtype),
                               {extents.begin(), extents.end()},
                               static_cast<std::int64_t>(tensor.bytes)});
    }
    const fs::path opened(facts.path);
    recognize(Checkpoint::open(opened), fs::is_directory(opened) ? opened : opened.parent_path(), model);
    models.push_back(std::move(model));
  }
  return models;
}

}  // namespace wan
