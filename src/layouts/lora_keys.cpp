#include "layouts/lora_keys.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "layouts/part_names.h"

namespace wan {

namespace {

using enum LoraRole;

constexpr std::pair<std::string_view, LoraRole> kSuffixes[] = {
    {".lora_down.weight", kDown},
    {".lora_up.weight", kUp},
    {".lora_mid.weight", kCore},
    {".lora_mid", kCore},
    {".lora_A.weight", kDown},
    {".lora_B.weight", kUp},
    {".lora_A.default.weight", kDown},
    {".lora_B.default.weight", kUp},
    {".lora_A", kDown},
    {".lora_B", kUp},
    {".lora.down.weight", kDown},
    {".lora.up.weight", kUp},
    {"_lora.down.weight", kDown},
    {"_lora.up.weight", kUp},
    {".lora_linear_layer.down.weight", kDown},
    {".lora_linear_layer.up.weight", kUp},
    {".alpha", kAlpha},
    {".diff", kDiff},
    {".diff_b", kDiffBias},
    {".diff_m", kDiffModulation},
    {".set_weight", kSet},
    {".dora_scale", kMagnitude},
    {".lora_magnitude_vector", kMagnitude},
    {".lora_magnitude_vector.weight", kMagnitude},
    {".lora_magnitude_vector.default.weight", kMagnitude},
    {".hada_w1_a", kHadaW1a},
    {".hada_w1_b", kHadaW1b},
    {".hada_w2_a", kHadaW2a},
    {".hada_w2_b", kHadaW2b},
    {".hada_t1", kHadaT1},
    {".hada_t2", kHadaT2},
    {".lokr_w1", kKronW1},
    {".lokr_w1_a", kKronW1a},
    {".lokr_w1_b", kKronW1b},
    {".lokr_w2", kKronW2},
    {".lokr_w2_a", kKronW2a},
    {".lokr_w2_b", kKronW2b},
    {".lokr_t2", kKronT2},
};

/// What stands before a module's name; several may, one after the other.
constexpr std::string_view kLoraPrefixes[] = {
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "module.", "unet.", "lora_unet__",
    "lora_unet_",        "lora_transformer_",      "lycoris_"};

constexpr std::string_view kImageParts[] = {"k_img",      "v_img",        "img_emb",       "add_k_proj",
                                            "add_v_proj", "norm_added_k", "image_embedder"};

/// Names of a block's modules in diffusers.
constexpr std::string_view kDiffusersParts[] = {
    "attn1.to_q",   "attn1.to_k",   "attn1.to_v", "attn1.to_out.0", "attn1.norm_q",
    "attn1.norm_k", "attn2.to_q",   "attn2.to_k", "attn2.to_v",     "attn2.to_out.0",
    "attn2.norm_q", "attn2.norm_k", "norm2",      "ffn.net.0.proj", "ffn.net.2"};

constexpr std::string_view kDiffusersTop[] = {"condition_embedder.text_embedder.linear_1",
                                              "condition_embedder.text_embedder.linear_2",
                                              "condition_embedder.time_embedder.linear_1",
                                              "condition_embedder.time_embedder.linear_2",
                                              "condition_embedder.time_proj",
                                              "proj_out"};

std::string with_underscores(std::string text) {
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
}

/// The longest suffix that `key` has.
std::optional<std::pair<std::string_view, LoraRole>> suffix_of(std::string_view key) {
  std::optional<std::pair<std::string_view, LoraRole>> best;
  for (const auto& suffix : kSuffixes)
    if (key.ends_with(suffix.first) && (!best || suffix.first.size() > best->first.size())) best = suffix;
  return best;
}

std::string_view without_prefixes(std::string_view name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : kLoraPrefixes) {
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      again = true;
    }
  }
  return name;
}

}  // namespace

LoraKeyReader::LoraKeyReader(const Checkpoint& transformer) {
  const auto add = [&](const std::string& name, const std::string& module) {
    modules_.emplace(name, module);
    modules_.emplace(with_underscores(name), module);
  };
  for (const TensorEntry& entry : transformer.entries()) {
    std::string module = entry.name;
    for (const std::string_view end : {".weight", ".bias"})
      if (module.ends_with(end)) module.erase(module.size() - end.size());
    add(module, module);
    if (!module.ends_with(".modulation")) continue;
    const std::string block = module.substr(0, module.rfind('.'));
    add(block, block);  // "blocks.0.diff_m", "head.diff_m"
    if (!block.starts_with("blocks.")) continue;
    for (const std::string_view part : kDiffusersParts) {
      const std::string theirs = block + "." + std::string(part);
      add(theirs, transformer_name_from_diffusers(theirs));
    }
  }
  for (const std::string_view theirs : kDiffusersTop)
    add(std::string(theirs), transformer_name_from_diffusers(theirs));
}

std::string LoraKeyReader::module_of(std::string_view name) const {
  const auto found = modules_.find(std::string(name));
  return found != modules_.end() ? found->second : std::string();
}

LoraKey LoraKeyReader::read(std::string_view key, bool low_noise, bool both) const {
  LoraKey result;
  if (key.starts_with("lora_te") || key.starts_with("text_encoder") || key.starts_with("lora_text_encoder")) {
    result.place = LoraPlace::kTextEncoder;
    return result;
  }
  const auto suffix = suffix_of(key);
  if (!suffix) return result;
  std::string_view name = key.substr(0, key.size() - suffix->first.size());
  for (const auto& [prefix, low] :
       {std::pair<std::string_view, bool>{"transformer_2.", true}, {"transformer.", false}}) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    if (!both || low == low_noise) break;
    result.place = LoraPlace::kOtherExpert;
    return result;
  }
  name = without_prefixes(name);
  result.role = suffix->second;
  result.module = module_of(name);
  if (!result.module.empty()) {
    result.place = LoraPlace::kApplies;
    return result;
  }
  for (const std::string_view part : kImageParts)
    if (name.find(part) != std::string_view::npos) result.place = LoraPlace::kImageAttention;
  return result;
}

}  // namespace wan
