#include "layouts/transformer_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "json/json_reader.h"
#include "json/json_text.h"
#include "json/strict_json.h"

namespace wan {

namespace {

using Json = nlohmann::json;

constexpr int kDepth = 8;
constexpr int kBlocksToAFace = 5;
constexpr int kTextTokens = 512;  // what diffusers' pipelines pass; its models take any number

/// diffusers' key of each official one that is a number as it stands.
constexpr std::pair<const char*, const char*> kNumbers[] = {
    {"ffn_dim", "ffn_dim"},      {"freq_dim", "freq_dim"},     {"in_dim", "in_channels"},
    {"out_dim", "out_channels"}, {"num_layers", "num_layers"}, {"num_heads", "num_attention_heads"},
};

void check_kind(const JsonReader& config) {
  const auto norm = config.find("qk_norm");
  WAN_CHECK(!norm || norm->text() == "rms_norm_across_heads", kUnsupported,
            "{}: \"qk_norm\" is not rms_norm_across_heads, which Wan's transformers have", config.place());
  WAN_CHECK(config.boolean_or("cross_attn_norm", true), kUnsupported,
            "{}: \"cross_attn_norm\" is false; Wan's transformers have that norm", config.place());
  const auto face_blocks = config.find("inject_face_latents_blocks");
  WAN_CHECK(!face_blocks || face_blocks->integer() == kBlocksToAFace, kUnsupported,
            "{}: \"inject_face_latents_blocks\" is not {}, as Wan2.2-Animate-14B has it", config.place(),
            kBlocksToAFace);
}

Json official_keys(const JsonReader& config, std::string_view model_type) {
  check_kind(config);
  Json official = {{"model_type", model_type}, {"text_len", kTextTokens}};
  for (const auto& [key, theirs] : kNumbers) official[key] = config.at(theirs).integer();
  official["dim"] = config.at("num_attention_heads").integer() * config.at("attention_head_dim").integer();
  official["eps"] = config.at("eps").number();
  return official;
}

}  // namespace

std::optional<TransformerConfigText> transformer_config_of(const std::filesystem::path& transformer,
                                                           std::string_view model_type) {
  const std::filesystem::path path =
      (is_folder(transformer) ? transformer : folder_of(transformer)) / "config.json";
  if (!file_exists(path)) return std::nullopt;
  const Json json = read_json_file(path, kDepth);
  const auto has = [&](const char* key) { return json.is_object() && json.contains(key); };
  if (has("attention_head_dim") && !has("num_heads"))
    return TransformerConfigText{json_text(official_keys(JsonReader(json, path.string()), model_type)),
                                 path.string()};
  // Files of many models lie beside each other, and such a config.json may be any one's.
  if (!is_folder(transformer) && !(has("num_heads") && has("ffn_dim"))) return std::nullopt;
  return TransformerConfigText{json_text(json), path.string()};
}

}  // namespace wan
