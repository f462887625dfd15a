#include "wan/tools.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/files.h"
#include "base/untrusted_text.h"
#include "engine/loaded_models.h"
#include "engine/model_checks.h"
#include "engine/tokenizer_part.h"
#include "layouts/hub_cache.h"
#include "layouts/part.h"
#include "layouts/part_folders.h"
#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"
#include "tasks/checkpoint_files.h"
#include "tokenizers/tokenizer.h"
#include "weights/inspect.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr int kTextLength = 512;

using Dimensions = std::vector<std::pair<std::string, std::string>>;

Dimensions describe(const WanConfig& config) {
  Dimensions dimensions = {
      {"type", config.model_type},
      {"dim", fmt::format("{}", config.dim)},
      {"ffn_dim", fmt::format("{}", config.ffn_dim)},
      {"heads", fmt::format("{} of {}", config.num_heads, config.head_dim())},
      {"layers", fmt::format("{}", config.num_layers)},
      {"channels", fmt::format("{} in, {} out", config.in_dim, config.out_dim)},
      {"patch", fmt::format("{}x{}x{}", config.patch[0], config.patch[1], config.patch[2])},
      {"text", fmt::format("{} tokens of {}", config.text_len, config.text_dim)}};
  if (config.speech)
    dimensions.emplace_back(
        "sound", fmt::format("{} layers of {}, after blocks {}", config.speech->audio_layers,
                             config.speech->audio_dim, fmt::join(config.speech->inject_layers, ", ")));
  if (config.animate)
    dimensions.emplace_back("faces", fmt::format("{0}x{0} to {1} of {2}, after blocks {3}",
                                                 config.animate->face_size(), config.animate->face_heads + 1,
                                                 config.dim, fmt::join(face_blocks(config), ", ")));
  return dimensions;
}

Dimensions describe(const ClipConfig& config) {
  return {{"dim", fmt::format("{}", config.dim)},
          {"ffn_dim", fmt::format("{}", config.dim_ffn)},
          {"heads", fmt::format("{} of {}", ClipConfig::kHeads, config.head_dim())},
          {"layers", fmt::format("{} of {}", config.num_layers, config.num_layers + 1)},
          {"image", fmt::format("{0}x{0} in patches of {1}x{1}", config.image_size(), config.patch)}};
}

Dimensions describe(const Wav2Vec2Config& config) {
  return {{"dim", fmt::format("{}", config.dim)},
          {"ffn_dim", fmt::format("{}", config.dim_ffn)},
          {"heads", fmt::format("{} of {}", config.num_heads, config.head_dim())},
          {"layers", fmt::format("{}", config.num_layers)},
          {"samples", fmt::format("{} from one state to the next", config.hop())}};
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

/// What is held in what, a layer's blocks together: "blocks: bf16, f32; head: f32".
std::string describe_layers(const Checkpoint& official) {
  std::map<std::string, std::set<std::string>> dtypes;
  for (const TensorEntry& entry : official.entries())
    dtypes[entry.name.substr(0, entry.name.find('.'))].insert(dtype_name(entry.dtype));
  std::string text;
  for (const auto& [layer, names] : dtypes)
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", layer, fmt::join(names, ", "));
  return text;
}

Dimensions describe(const PartFacts& facts, const Checkpoint& official) {
  Dimensions dimensions = {{"family", facts.family}};
  if (facts.naming != "official" || !facts.prefix.empty())
    dimensions.emplace_back(
        "names",
        fmt::format("{}{}", facts.naming, facts.prefix.empty() ? "" : " behind " + quote_name(facts.prefix)));
  dimensions.emplace_back("format", facts.format);
  if (facts.kind == PartKind::kTransformer) dimensions.emplace_back("held in", describe_layers(official));
  return dimensions;
}

/// Recognises a model by its tensors and checks it; a file that is no model of Wan2.2 is only listed.
void recognize(const Checkpoint& checkpoint, const fs::path& path, InspectedModel& model) {
  const PartFacts facts = recognize_part(checkpoint);
  const Checkpoint official = with_official_names(checkpoint, facts);
  WeightReport report(official, model.path);
  const auto tell = [&](const char* kind, const Dimensions& dimensions) {
    model.kind = kind;
    model.dimensions = describe(facts, official);
    model.dimensions.insert(model.dimensions.end(), dimensions.begin(), dimensions.end());
  };
  if (facts.kind == PartKind::kTransformer && !facts.model_type.empty()) {
    tell("diffusion transformer", describe(check_transformer(path, report)));
  } else if (facts.kind == PartKind::kTextEncoder) {
    tell("umT5 text encoder", describe(check_text_encoder(report)));
  } else if (facts.kind == PartKind::kAudioEncoder && file_exists(path / "config.json")) {
    model.kind = "wav2vec 2.0 audio encoder";
    model.dimensions = describe(check_audio_encoder(path, report));
  } else if (facts.kind == PartKind::kImageEncoder) {
    tell("CLIP image encoder", describe(check_image_encoder(report)));
  } else if (facts.kind == PartKind::kVae && facts.model_type == "vae22") {
    tell("VAE 2.2", describe(Vae22(WeightScope::describing(report)).config()));
  } else if (facts.kind == PartKind::kVae) {
    tell("VAE 2.1", describe(Vae21(WeightScope::describing(report)).config()));
  } else {
    model.kind = facts.family.empty() ? "tensors" : facts.family;
    if (model.tensors.empty()) model.findings = "it holds no tensors";
    return;
  }
  if (!report.clean()) model.findings = literal_text(report.describe());
}

/// Whether this is the folder of a whole checkpoint, not of one of its models.
bool is_checkpoint_directory(const fs::path& path) {
  for (const char* part : {"high_noise_model", "low_noise_model", "models_t5_umt5-xxl-enc-bf16.pth", "google",
                           "Wan2.1_VAE.pth", "Wan2.2_VAE.pth"})
    if (file_exists(path / part)) return true;
  return is_diffusers_folder(path);
}

/// What generation would refuse of a checkpoint directory beside the findings of its models; empty for nothing.
std::string whole_findings(const fs::path& path, const std::vector<InspectedModel>& models) {
  std::string findings;
  const auto check = [&](auto&& refuse) {
    try {
      refuse();
    } catch (const Error& error) {
      findings += (findings.empty() ? "" : "\n  ") + std::string(error.what());
    }
  };
  fs::path tokenizer = path / "google" / "umt5-xxl";
  check([&] {
    const CheckpointFiles files = find_checkpoint_files(path);
    tokenizer = files.tokenizer.empty() ? files.text_encoder : files.tokenizer;
  });
  check([&] {
    if (file_exists(tokenizer)) read_tokenizer_part(tokenizer);
  });
  const bool sound = std::all_of(models.begin(), models.end(),
                                 [](const InspectedModel& model) { return model.findings.empty(); });
  if (sound && findings.empty()) check([&] { const CheckpointModels whole(path); });
  return findings;
}

/// What stands for a model whose file was chosen in its folder: the folder, where its config.json lies, or the file.
fs::path whole_path(const fs::path& file) {
  if (is_folder(file)) return file;
  return file_exists(folder_of(file) / "config.json") ? folder_of(file) : file;
}

/// A name stands for what has been downloaded under it, and a folder around ComfyUI's for these.
fs::path inspected_folder(const fs::path& given) {
  if (!file_exists(given) && !downloaded_model(given.string())) return given;  // opening it says so
  const fs::path path = checkpoint_folder(given);
  return is_folder(path / "split_files") ? path / "split_files" : path;
}

}  // namespace

TokenizedText tokenize(const fs::path& ckpt_dir, const std::string& prompt) {
  const fs::path tokenizer = find_tokenizer_of(ckpt_dir);
  const TokenizedPrompt tokens = read_tokenizer_part(tokenizer)->tokenize(prompt, kTextLength);
  return {.cleaned = tokens.cleaned,
          .ids = {tokens.ids.begin(), tokens.ids.begin() + tokens.used},
          .limit = kTextLength,
          .truncated = tokens.truncated};
}

std::vector<InspectedModel> inspect(const fs::path& given) {
  const fs::path path = inspected_folder(given);
  const bool several = is_folder(path);
  std::vector<InspectedModel> models;
  for (const CheckpointFacts& facts : inspect_checkpoints(path)) {
    InspectedModel model;
    model.path = facts.path;
    model.bytes = static_cast<std::int64_t>(facts.total_bytes);
    model.ignored = facts.ignored;
    for (const TensorFacts& tensor : facts.tensors) {
      const auto extents = tensor.shape.extents();
      model.tensors.push_back({tensor.name,
                               dtype_name(tensor.dtype),
                               {extents.begin(), extents.end()},
                               static_cast<std::int64_t>(tensor.bytes)});
    }
    if (facts.problem.empty()) {
      const fs::path opened(facts.path);
      try {
        recognize(Checkpoint::open(opened), whole_path(opened), model);
      } catch (const Error& error) {
        if (!several) throw;
        model.findings = error.what();
      }
    } else {
      model.kind = facts.kind;
      model.findings = facts.problem;
    }
    models.push_back(std::move(model));
  }
  if (!several || !is_checkpoint_directory(path)) return models;
  const std::string findings = whole_findings(path, models);
  if (!findings.empty())
    models.push_back({.path = path.string(),
                      .kind = "checkpoint directory",
                      .dimensions = {},
                      .tensors = {},
                      .bytes = 0,
                      .ignored = {},
                      .findings = findings});
  return models;
}

}  // namespace wan
