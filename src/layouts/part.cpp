#include "layouts/part.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "layouts/made_tensors.h"
#include "layouts/part_names.h"

namespace wan {

namespace {

using Names = std::span<const TensorEntry>;

bool any_name(const Checkpoint& checkpoint, std::string_view part) {
  const Names entries = checkpoint.entries();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const TensorEntry& entry) { return entry.name.find(part) != std::string::npos; });
}

/// What programs put before all names of a model.
constexpr std::array<std::string_view, 8> kPrefixes = {
    "",     "model.diffusion_model.", "model.",  "diffusion_model.",
    "vae.", "first_stage_model.",     "module.", "text_encoders.umt5xxl.transformer."};

/// A tensor by which a part is known, and what that says.
struct Mark {
  std::string_view name;
  PartKind kind;
  std::string_view naming;
};

constexpr Mark kMarks[] = {
    {"condition_embedder.time_embedder.linear_1.weight", PartKind::kTransformer, "diffusers"},
    {"time_embedding.0.weight", PartKind::kTransformer, "official"},
    {"blocks.0.attn.q.weight", PartKind::kTextEncoder, "official"},
    {"encoder.block.0.layer.0.SelfAttention.q.weight", PartKind::kTextEncoder, "transformers"},
    {"enc.blk.0.attn_q.weight", PartKind::kTextEncoder, "llama.cpp"},
    {"decoder.mid_block.resnets.0.norm1.gamma", PartKind::kVae, "diffusers"},
    {"decoder.middle.0.residual.0.gamma", PartKind::kVae, "official"},
    {"wav2vec2.feature_projection.projection.weight", PartKind::kAudioEncoder, "official"},
    {"feature_projection.projection.weight", PartKind::kAudioEncoder, "official"},
    {"visual.cls_embedding", PartKind::kImageEncoder, "official"},
    {"vision_model.embeddings.class_embedding", PartKind::kImageEncoder, "transformers"},
};

/// Parts of names that models of others have, and what these are.
constexpr std::pair<std::string_view, std::string_view> kOthers[] = {
    {"lora_down.", "LoRA"},
    {"lora_up.", "LoRA"},
    {"lora_A.", "LoRA"},
    {"lora.down.", "LoRA"},
    {"lokr_w", "LoRA (LoKr)"},
    {"hada_w", "LoRA (LoHa)"},
    {"visual.transformer.resblocks", "CLIP image encoder of another layout, which is not read"},
    {"text_model.encoder", "CLIP text encoder, which Wan2.2 has not"},
    {"double_blocks.", "transformer of FLUX or HunyuanVideo"},
    {"joint_blocks.", "transformer of Stable Diffusion 3"},
    {"input_blocks.", "U-Net of Stable Diffusion"},
    {"transformer_blocks.", "transformer of another model"},
    {"model.layers.0.self_attn.q_proj", "language model"},
    {"decoder.up.0.block.0.", "VAE of images (FLUX's or Stable Diffusion's)"},
    {"decoder.up_blocks.0.resnets.0.conv1.", "VAE of another model"},
};

/// A transformer by a tensor that others have not.
struct Relative {
  std::string_view name;
  std::string_view family;
  std::string_view model_type;
};

constexpr Relative kRelatives[] = {
    {"face_adapter.fuser_blocks.0.k_norm.weight", "transformer of Wan2.2-Animate-14B", "animate"},
    {"casual_audio_encoder.encoder.final_linear.weight", "transformer of Wan2.2-S2V-14B", "s2v"},
    {"vace_patch_embedding.weight", "VACE transformer", ""},
    {"control_adapter.conv.weight", "transformer of Wan2.2-Fun with a camera's control", ""},
    {"ref_conv.weight", "transformer of Wan2.2-Fun with a control video", ""},
    {"img_emb.proj.1.weight", "transformer of Wan2.1-I2V-14B", ""},
};

std::optional<Shape> shape_of(const Checkpoint& checkpoint, const std::string& name) {
  const TensorEntry* entry = checkpoint.find(name);
  return entry != nullptr ? std::optional(entry->shape) : std::nullopt;
}

/// Of a checkpoint with official names.
void tell_transformer(const Checkpoint& official, PartFacts& facts) {
  for (const Relative& relative : kRelatives) {
    if (official.find(relative.name) == nullptr) continue;
    facts.family = relative.family;
    facts.model_type = relative.model_type;
    return;
  }
  facts.family = "transformer";
  const auto patch = shape_of(official, "patch_embedding.weight");
  const auto head = shape_of(official, "head.head.weight");
  if (!patch || !head || patch->rank() != 5 || head->rank() != 2) return;
  const std::int64_t volume = (*patch)[2] * (*patch)[3] * (*patch)[4];
  if (volume < 1 || (*head)[0] % volume != 0) return;
  const std::int64_t in = (*patch)[1];
  const std::int64_t out = (*head)[0] / volume;
  constexpr std::int64_t kLatent21 = 16;    // channels of VAE 2.1
  constexpr std::int64_t kLatent22 = 48;    // of VAE 2.2
  constexpr std::int64_t kMask = 4;         // channels that say which frames are given
  constexpr std::int64_t kSmallDim = 1536;  // width of Wan2.1-T2V-1.3B
  if (in == out && out == kLatent22) {
    facts.family = "transformer of Wan2.2-TI2V-5B";
    facts.model_type = "ti2v";
  } else if (in == out && (*patch)[0] == kSmallDim) {
    facts.family = "transformer of Wan2.1-T2V-1.3B";
  } else if (in == out) {
    facts.family =
        "expert of Wan2.2-T2V-A14B, or the transformer of Wan2.1-T2V-14B, whose shapes are the same";
    facts.model_type = "t2v";
  } else if (in == 2 * out + kMask) {
    facts.family = "expert of Wan2.2-I2V-A14B";
    facts.model_type = "i2v";
  } else if (out == kLatent21 || out == kLatent22) {
    facts.family =
        fmt::format("transformer of a relative of Wan2.2 that takes {} channels and makes {}", in, out);
  }
}

void tell_text_encoder(const Checkpoint& official, PartFacts& facts) {
  facts.family = official.find("blocks.1.pos_embedding.embedding.weight") == nullptr &&
                         official.find("blocks.1.attn.q.weight") != nullptr
                     ? "T5 text encoder that is no umT5 (its later layers have no positions)"
                     : "umT5 text encoder";
}

void tell_vae(const Checkpoint& official, PartFacts& facts) {
  const bool nested = official.find("decoder.upsamples.0.upsamples.0.residual.2.weight") != nullptr;
  facts.model_type = nested ? "vae22" : "vae21";
  facts.family = nested ? "VAE of Wan2.2-TI2V-5B (Wan2.2_VAE)"
                        : "VAE of Wan2.1 and of Wan2.2's other models (Wan2.1_VAE)";
}

bool is_nested_vae(const Checkpoint& checkpoint, std::string_view prefix) {
  return checkpoint.find(std::string(prefix) + "encoder.down_blocks.0.resnets.0.conv1.weight") != nullptr;
}

/// Of diffusers' layout.
int count_motion_levels(const Checkpoint& checkpoint, std::string_view prefix) {
  int levels = 0;
  while (checkpoint.find(fmt::format("{}motion_encoder.res_blocks.{}.conv1.weight", prefix, levels)) !=
         nullptr)
    ++levels;
  return levels;
}

/// With the official names of all whole tensors.
Checkpoint renamed(const Checkpoint& checkpoint, const PartFacts& facts) {
  const bool text_encoder = facts.kind == PartKind::kTextEncoder;
  if (facts.naming.empty()) return checkpoint;  // no part of Wan2.2
  if (facts.naming == "official" && facts.prefix.empty() && !text_encoder) return checkpoint;
  const int motion_levels = count_motion_levels(checkpoint, facts.prefix);
  const bool nested = is_nested_vae(checkpoint, facts.prefix);
  const bool has_shared = checkpoint.find(facts.prefix + "shared.weight") != nullptr;
  return checkpoint.renamed([&](const TensorEntry& entry) -> std::optional<std::string> {
    std::string_view name = entry.name;
    if (name.starts_with(facts.prefix)) name.remove_prefix(facts.prefix.size());
    if (text_encoder && name == "spiece_model") return std::nullopt;
    if (facts.naming == "official") return std::string(name);
    if (facts.naming == "llama.cpp") return text_encoder_name_from_llama(name);
    if (facts.kind == PartKind::kImageEncoder) {
      if (name == "vision_model.embeddings.position_ids") return std::nullopt;
      return image_encoder_name_from_transformers(name);
    }
    if (facts.naming == "transformers") {
      if (has_shared && name.starts_with("encoder.embed_tokens.")) return std::nullopt;
      return text_encoder_name_from_transformers(name);
    }
    if (facts.kind == PartKind::kVae) return vae_name_from_diffusers(name, nested);
    for (const char* joined : {".to_qkv.", ".to_kv.", ".to_added_kv."})
      WAN_CHECK(name.find(joined) == std::string_view::npos, kUnsupported,
                "{}: {} is several weights in one, as diffusers' fuse_projections() leaves them; save the "
                "model after unfuse_projections()",
                checkpoint.path(), quote_name(entry.name));
    return transformer_name_from_diffusers(name, motion_levels);
  });
}

/// "f8_e4m3 (scaled per tensor)"
std::string format_of(const TensorEntry& entry) {
  const char* const name = dtype_name(entry.dtype);
  if (!entry.scales) return is_f8(entry.dtype) ? fmt::format("{} (unscaled)", name) : name;
  const CodeScales& scales = *entry.scales;
  const bool by_row = scales.rows == 1 && scales.columns >= entry.shape[1];
  return fmt::format("{} ({}scaled per {})", name, scales.rotated ? "rotated, " : "",
                     scales.values.size() == 1 ? "tensor"
                     : by_row                  ? "row"
                                               : "block");
}

std::string format_of(const Checkpoint& checkpoint) {
  struct Count {
    std::size_t tensors = 0;
    std::size_t bytes = 0;
  };
  std::map<std::string, Count> counts;
  for (const TensorEntry& entry : checkpoint.entries()) {
    Count& count = counts[format_of(entry)];
    ++count.tensors;
    count.bytes += entry.bytes();
  }
  std::vector<std::pair<std::string, Count>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::vector<std::string> words;
  for (const auto& [name, count] : sorted) words.push_back(fmt::format("{} {}", count.tensors, name));
  return fmt::format("{}", fmt::join(words, ", "));
}

/// A file of LoRA, for a message that says which option is for it.
bool is_lora(std::string_view family) {
  return family.starts_with("LoRA");
}

/// The words of a file's name, in small letters: where capitals begin and digits end too.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto letter = static_cast<unsigned char>(name[i]);
    const bool after_small = i > 0 && std::islower(static_cast<unsigned char>(name[i - 1])) != 0;
    if (std::isalpha(letter) == 0 || (std::isupper(letter) != 0 && after_small)) words.emplace_back();
    if (std::isalpha(letter) != 0) words.back() += static_cast<char>(std::tolower(letter));
  }
  return words;
}

}  // namespace

const char* part_kind_name(PartKind kind) {
  switch (kind) {
    case PartKind::kTransformer:
      return "transformer";
    case PartKind::kTextEncoder:
      return "text encoder";
    case PartKind::kVae:
      return "VAE";
    case PartKind::kAudioEncoder:
      return "audio encoder";
    case PartKind::kImageEncoder:
      return "image encoder";
    case PartKind::kLora:
      return "LoRA";
    case PartKind::kOther:
      return "part of a checkpoint";
  }
  return "";
}

PartFacts recognize_part(const Checkpoint& checkpoint) {
  PartFacts facts;
  facts.format = format_of(checkpoint);
  for (const std::string_view prefix : kPrefixes) {
    for (const Mark& mark : kMarks) {
      const TensorEntry* entry = checkpoint.find(std::string(prefix) + std::string(mark.name));
      if (entry == nullptr) continue;
      facts.kind = mark.kind;
      facts.naming = mark.naming;
      facts.prefix = prefix;
      break;
    }
    if (facts.kind != PartKind::kOther) break;
  }
  if (facts.kind == PartKind::kOther || facts.kind == PartKind::kAudioEncoder) {
    for (const auto& [part, family] : kOthers) {
      if (facts.kind != PartKind::kOther || !any_name(checkpoint, part)) continue;
      facts.family = family;
      if (is_lora(family)) facts.kind = PartKind::kLora;
      break;
    }
    if (facts.kind == PartKind::kAudioEncoder) facts.family = "wav2vec 2.0 audio encoder";
    return facts;
  }
  const Checkpoint official = renamed(checkpoint, facts);
  if (facts.kind == PartKind::kTransformer) tell_transformer(official, facts);
  if (facts.kind == PartKind::kTextEncoder) tell_text_encoder(official, facts);
  if (facts.kind == PartKind::kVae) tell_vae(official, facts);
  if (facts.kind == PartKind::kImageEncoder) facts.family = "CLIP image encoder";
  return facts;
}

Checkpoint with_official_names(const Checkpoint& checkpoint, const PartFacts& facts) {
  const Checkpoint named = renamed(checkpoint, facts);
  const bool of_others = facts.naming == "diffusers" || facts.naming == "transformers";
  const bool may_lack = facts.kind == PartKind::kTransformer || facts.kind == PartKind::kImageEncoder;
  return of_others && may_lack ? with_made_tensors(named) : named;
}

Checkpoint open_part(const std::filesystem::path& path, PartKind kind) {
  Checkpoint checkpoint = Checkpoint::open(path);
  const PartFacts facts = recognize_part(checkpoint);
  if (facts.kind == PartKind::kOther && facts.family.empty())
    return checkpoint;  // its report says what is missing
  WAN_CHECK(facts.kind == kind, kBadFile, "{} is no {}: it is a {}{}", path.string(), part_kind_name(kind),
            facts.family,
            facts.kind == PartKind::kLora ? ", an addition to a model: name it with `lora`" : "");
  return with_official_names(checkpoint, facts);
}

std::span<const std::byte> tokenizer_within(const Checkpoint& checkpoint) {
  const TensorEntry* entry = checkpoint.find("spiece_model");
  return entry != nullptr ? entry->storage : std::span<const std::byte>();
}

std::string_view expert_in_name(std::string_view file_name) {
  bool high = false;
  bool low = false;
  for (const std::string& word : words_of(file_name)) {
    high = high || word == "high" || word == "highnoise" || word == "h";
    low = low || word == "low" || word == "lownoise" || word == "l";
  }
  if (high == low) return {};
  return high ? "high" : "low";
}

}  // namespace wan
