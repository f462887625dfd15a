#include "models/qwen/config.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"
#include "json/json_reader.h"
#include "json/strict_json.h"

namespace wan {

namespace {

constexpr int kDepth = 8;  // the published files have two levels
constexpr const char* kRemedy =
    "take all files of the model's folder, such as Qwen2.5-7B-Instruct's, from one place";

std::int64_t between(const JsonReader& json, const char* key, std::int64_t least, std::int64_t most) {
  const std::int64_t value = json.at(key).integer();
  WAN_CHECK(value >= least && value <= most, kBadFile, "{}: \"{}\" is {}, expected {} to {}; {}",
            json.place(), key, value, least, most, kRemedy);
  return value;
}

double number_or(const JsonReader& json, const char* key, double otherwise) {
  const auto member = json.find(key);
  return member ? member->number() : otherwise;
}

[[noreturn]] void fail_network(const JsonReader& json, const char* key, const std::string& value,
                               const char* expected) {
  fail(ErrorCode::kUnsupported,
       "{}: \"{}\" is \"{}\", expected {}: another kind of language model; use Qwen2.5 Instruct, or a server "
       "that runs this one",
       json.place(), key, value, expected);
}

/// The pairs of each axis.
std::array<std::int64_t, 3> read_rope(const JsonReader& json, std::int64_t head_dim, bool sees) {
  const std::int64_t pairs = head_dim / 2;
  const auto scaling = json.find("rope_scaling");
  if (!scaling) return {pairs, 0, 0};
  const auto sections = scaling->find("mrope_section");
  if (!sees || !sections) fail_network(json, "rope_scaling", "set", "null");
  const auto elements = sections->elements();
  WAN_CHECK(elements.size() == 3, kBadFile, "{}: \"mrope_section\" has {} members, expected 3; {}",
            json.place(), elements.size(), kRemedy);
  const std::array<std::int64_t, 3> result{elements[0].integer(), elements[1].integer(),
                                           elements[2].integer()};
  WAN_CHECK(result[0] + result[1] + result[2] == pairs, kBadFile,
            "{}: \"mrope_section\" makes {} pairs, the heads have {}; {}", json.place(),
            result[0] + result[1] + result[2], pairs, kRemedy);
  return result;
}

QwenVisionConfig read_vision(const JsonReader& json) {
  if (json.at("hidden_act").text() != "silu")
    fail_network(json, "hidden_act", json.at("hidden_act").text(), "silu");
  QwenVisionConfig config{};
  config.dim = between(json, "hidden_size", 1, 1 << 14);
  config.num_layers = between(json, "depth", 1, 1 << 8);
  config.num_heads = between(json, "num_heads", 1, 1 << 8);
  config.dim_ffn = between(json, "intermediate_size", 1, 1 << 16);
  config.out_dim = between(json, "out_hidden_size", 1, 1 << 16);
  config.patch = between(json, "patch_size", 1, 64);
  config.frames = between(json, "temporal_patch_size", 1, 8);
  config.merge = between(json, "spatial_merge_size", 1, 8);
  config.window = between(json, "window_size", 1, 1 << 12);
  for (const JsonReader& layer : json.at("fullatt_block_indexes").elements())
    config.whole_layers.push_back(layer.integer());
  WAN_CHECK(config.dim % config.num_heads == 0 && config.head_dim() % 4 == 0 &&
                config.window % config.token_side() == 0,
            kBadFile,
            "{}: {} heads do not go with a width of {}, or windows of {} with tokens of {} pixels; {}",
            json.place(), config.num_heads, config.dim, config.window, config.token_side(), kRemedy);
  return config;
}

/// The width of a head where the file does not say it; throws where dimensions contradict one another.
void complete_dimensions(QwenConfig& config, const std::string& where) {
  WAN_CHECK(config.num_heads % config.num_key_heads == 0 &&
                (config.head_dim > 0 || config.dim % config.num_heads == 0),
            kBadFile, "{}: {} heads do not go with {} heads of keys and a width of {}; {}", where,
            config.num_heads, config.num_key_heads, config.dim, kRemedy);
  if (config.head_dim == 0) config.head_dim = config.dim / config.num_heads;
  WAN_CHECK(config.head_dim % 2 == 0, kBadFile, "{}: heads of {} have no two halves; {}", where,
            config.head_dim, kRemedy);
  WAN_CHECK(config.eps > 0 && config.eps < 1 && config.rope_theta >= 1 && config.rope_theta < 1e12, kBadFile,
            "{}: {} is no epsilon, or {} no base of rotary positions; {}", where, config.eps,
            config.rope_theta, kRemedy);
}

/// A number among a GGUF file's pairs, of the network that it names.
class GgufPairs {
 public:
  GgufPairs(const std::map<std::string, std::string>& pairs, const std::string& file)
      : pairs_(pairs), file_(file) {}

  std::int64_t between(const std::string& key, std::int64_t least, std::int64_t most) const {
    return static_cast<std::int64_t>(number(key, static_cast<double>(least), static_cast<double>(most)));
  }
  double number(const std::string& key, double least, double most) const {
    const auto found = pairs_.find(key);
    double value = 0;
    if (found != pairs_.end()) {
      const std::string& text = found->second;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error == std::errc() && end == text.data() + text.size() && value >= least && value <= most)
        return value;
    }
    fail(ErrorCode::kBadFile, "[{}] \"{}\" is {}, expected {} to {}; {}", file_, key,
         found == pairs_.end() ? "missing" : quote_name(found->second), least, most, kRemedy);
  }

 private:
  const std::map<std::string, std::string>& pairs_;
  const std::string& file_;
};

QwenConfig read_config(const JsonReader& json) {
  const std::string type = json.at("model_type").text();
  const bool sees = type == "qwen2_5_vl";
  if (type != "qwen2" && type != "llama" && !sees)
    fail_network(json, "model_type", type, "qwen2 or qwen2_5_vl");
  if (json.at("hidden_act").text() != "silu")
    fail_network(json, "hidden_act", json.at("hidden_act").text(), "silu");
  if (json.boolean_or("use_sliding_window", false)) fail_network(json, "use_sliding_window", "true", "false");
  for (const char* key : {"attention_bias", "mlp_bias"})
    if (json.boolean_or(key, false)) fail_network(json, key, "true", "false");
  QwenConfig config{};
  config.vocabulary = between(json, "vocab_size", 1, 1 << 22);
  config.dim = between(json, "hidden_size", 1, 1 << 16);
  config.num_layers = between(json, "num_hidden_layers", 1, 1 << 10);
  config.num_heads = between(json, "num_attention_heads", 1, 1 << 10);
  config.num_key_heads =
      json.find("num_key_value_heads") ? between(json, "num_key_value_heads", 1, 1 << 10) : config.num_heads;
  if (json.find("head_dim")) config.head_dim = between(json, "head_dim", 2, 1 << 10);
  config.dim_ffn = between(json, "intermediate_size", 1, 1 << 18);
  config.max_tokens = between(json, "max_position_embeddings", 1, 1 << 30);
  config.eps = static_cast<float>(json.at("rms_norm_eps").number());
  config.rope_theta = number_or(json, "rope_theta", 10000.0);
  complete_dimensions(config, json.place());
  config.has_biases = type != "llama";
  config.shares_embeddings = json.boolean_or("tie_word_embeddings", false);
  config.rope_pairs = read_rope(json, config.head_dim, sees);
  if (!sees) return config;
  config.vision = read_vision(json.at("vision_config"));
  WAN_CHECK(config.vision->out_dim == config.dim, kBadFile,
            "{}: what the model sees has {} features, its tokens {}; {}", json.place(),
            config.vision->out_dim, config.dim, kRemedy);
  return config;
}

/// One id or several.
std::vector<std::int64_t> read_end_ids(const JsonReader& json) {
  const auto member = json.find("eos_token_id");
  if (!member) return {};
  if (member->is_integer()) return {member->integer()};
  std::vector<std::int64_t> ids;
  for (const JsonReader& id : member->elements()) ids.push_back(id.integer());
  return ids;
}

SamplingConfig read_sampling(const JsonReader& json) {
  SamplingConfig config;
  config.samples = json.boolean_or("do_sample", false);
  config.temperature = number_or(json, "temperature", config.temperature);
  if (const auto top_k = json.find("top_k")) config.top_k = top_k->integer();
  config.top_p = number_or(json, "top_p", config.top_p);
  config.repetition_penalty = number_or(json, "repetition_penalty", config.repetition_penalty);
  config.end_ids = read_end_ids(json);
  WAN_CHECK((!config.samples || config.temperature > 0) && config.temperature < 1e6 && config.top_p >= 0 &&
                config.top_p <= 1 && config.repetition_penalty > 0 && config.repetition_penalty < 1e6,
            kBadFile, "{}: a temperature of {}, top_p of {} or repetition_penalty of {} is out of range; {}",
            json.place(), config.temperature, config.top_p, config.repetition_penalty, kRemedy);
  return config;
}

}  // namespace

QwenConfig parse_qwen_config(std::string_view json, const std::string& where) {
  const nlohmann::json document = parse_strict_json(json, where, kDepth);
  return read_config(JsonReader(document, where));
}

QwenConfig read_qwen_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const nlohmann::json document = read_json_file(path, kDepth, kRemedy);
  return read_config(JsonReader(document, path.string()));
}

QwenConfig qwen_config_of_gguf(const std::map<std::string, std::string>& pairs, std::int64_t vocabulary,
                               bool shares_embeddings, const std::string& file) {
  const auto network = pairs.find("general.architecture");
  WAN_CHECK(network != pairs.end() && network->second == "qwen2", kUnsupported,
            "[{}] holds a network of the kind {}, expected qwen2: use a GGUF file of Qwen2.5 Instruct, the "
            "model's folder with safetensors files, or a server that runs this one",
            file, network == pairs.end() ? "unknown" : quote_name(network->second));
  const GgufPairs numbers(pairs, file);
  QwenConfig config{};
  config.vocabulary = vocabulary;
  config.dim = numbers.between("qwen2.embedding_length", 1, 1 << 16);
  config.num_layers = numbers.between("qwen2.block_count", 1, 1 << 10);
  config.num_heads = numbers.between("qwen2.attention.head_count", 1, 1 << 10);
  config.num_key_heads = numbers.between("qwen2.attention.head_count_kv", 1, 1 << 10);
  config.dim_ffn = numbers.between("qwen2.feed_forward_length", 1, 1 << 18);
  config.max_tokens = numbers.between("qwen2.context_length", 1, 1 << 30);
  config.eps = static_cast<float>(numbers.number("qwen2.attention.layer_norm_rms_epsilon", 0, 1));
  config.rope_theta = numbers.number("qwen2.rope.freq_base", 1, 1e12);
  config.has_biases = true;
  config.shares_embeddings = shares_embeddings;
  complete_dimensions(config, file);
  config.rope_pairs = {config.head_dim / 2, 0, 0};
  return config;
}

SamplingConfig parse_sampling_config(std::string_view json, const std::string& where) {
  const nlohmann::json document = parse_strict_json(json, where, kDepth);
  return read_sampling(JsonReader(document, where));
}

SamplingConfig read_sampling_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "generation_config.json";
  const std::filesystem::path model = folder / "config.json";
  SamplingConfig config;
  if (file_exists(path)) {
    const nlohmann::json document = read_json_file(path, kDepth, kRemedy);
    config = read_sampling(JsonReader(document, path.string()));
  }
  if (config.end_ids.empty()) {
    const nlohmann::json document = read_json_file(model, kDepth, kRemedy);
    config.end_ids = read_end_ids(JsonReader(document, model.string()));
  }
  return config;
}

}  // namespace wan
