#include "models/wav2vec2/config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "json/json_reader.h"
#include "json/strict_json.h"

namespace wan {

namespace {

constexpr int kDepth = 8;  // the published files have two levels
constexpr const char* kRemedy =
    "take all files of the audio encoder's folder from wav2vec2-large-xlsr-53-english";

std::int64_t between(const JsonReader& json, const char* key, std::int64_t least, std::int64_t most) {
  const std::int64_t value = json.at(key).integer();
  WAN_CHECK(value >= least && value <= most, kBadFile, "{}: \"{}\" is {}, expected {} to {}; {}",
            json.place(), key, value, least, most, kRemedy);
  return value;
}

/// Throws Unsupported unless a member is what xlsr-53 has.
void expect_text(const JsonReader& json, const char* key, const char* expected) {
  const std::string value = json.at(key).text();
  WAN_CHECK(value == expected, kUnsupported,
            "{}: \"{}\" is \"{}\", expected \"{}\": another audio encoder; {}", json.place(), key, value,
            expected, kRemedy);
}

void expect_true(const JsonReader& json, const char* key) {
  WAN_CHECK(json.boolean_or(key, false), kUnsupported, "{}: \"{}\" is not true: another audio encoder; {}",
            json.place(), key, kRemedy);
}

std::vector<Wav2Vec2Config::Convolution> read_convolutions(const JsonReader& json) {
  constexpr std::size_t kMost = 16;
  const auto channels = json.at("conv_dim").elements();
  const auto kernels = json.at("conv_kernel").elements();
  const auto strides = json.at("conv_stride").elements();
  WAN_CHECK(!channels.empty() && channels.size() <= kMost && kernels.size() == channels.size() &&
                strides.size() == channels.size(),
            kBadFile, "{}: \"conv_dim\", \"conv_kernel\" and \"conv_stride\" have {}, {} and {} members; {}",
            json.place(), channels.size(), kernels.size(), strides.size(), kRemedy);
  std::vector<Wav2Vec2Config::Convolution> convolutions;
  std::int64_t hop = 1;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const Wav2Vec2Config::Convolution layer{channels[i].integer(), kernels[i].integer(),
                                            strides[i].integer()};
    WAN_CHECK(layer.channels >= 1 && layer.channels <= 4096 && layer.kernel >= 1 && layer.kernel <= 64 &&
                  layer.stride >= 1 && layer.stride <= layer.kernel,
              kBadFile, "{}: its convolution {} has {} channels, a kernel of {} and a stride of {}; {}",
              json.place(), i, layer.channels, layer.kernel, layer.stride, kRemedy);
    hop *= layer.stride;
    constexpr std::int64_t kLongestHop = 1 << 16;  // a state every four seconds
    WAN_CHECK(hop <= kLongestHop, kBadFile, "{}: its convolutions leave less than one of {} samples; {}",
              json.place(), kLongestHop, kRemedy);
    convolutions.push_back(layer);
  }
  return convolutions;
}

Wav2Vec2Config read_config(const JsonReader& json) {
  expect_text(json, "model_type", "wav2vec2");
  expect_text(json, "feat_extract_norm", "layer");
  expect_text(json, "feat_extract_activation", "gelu");
  expect_text(json, "hidden_act", "gelu");
  expect_true(json, "do_stable_layer_norm");
  expect_true(json, "conv_bias");
  WAN_CHECK(!json.find("adapter_attn_dim"), kUnsupported, "{}: the audio encoder has adapters; {}",
            json.place(), kRemedy);
  Wav2Vec2Config config{};
  config.convolutions = read_convolutions(json);
  config.dim = between(json, "hidden_size", 1, 1 << 14);
  config.num_heads = between(json, "num_attention_heads", 1, 1 << 10);
  config.num_layers = between(json, "num_hidden_layers", 1, 1 << 8);
  config.dim_ffn = between(json, "intermediate_size", 1, 1 << 16);
  config.position_kernel = between(json, "num_conv_pos_embeddings", 1, 1 << 10);
  config.position_groups = between(json, "num_conv_pos_embedding_groups", 1, 1 << 10);
  config.eps = static_cast<float>(json.at("layer_norm_eps").number());
  WAN_CHECK(config.dim % config.num_heads == 0 && config.dim % config.position_groups == 0 &&
                config.eps > 0 && config.eps < 1,
            kBadFile, "{}: a width of {} does not go with {} heads and {} groups, or {} is no epsilon; {}",
            json.place(), config.dim, config.num_heads, config.position_groups, config.eps, kRemedy);
  return config;
}

}  // namespace

std::int64_t Wav2Vec2Config::states(std::int64_t samples) const {
  std::int64_t count = samples;
  for (const Convolution& layer : convolutions)
    count = count < layer.kernel ? 0 : (count - layer.kernel) / layer.stride + 1;
  return count;
}

std::int64_t Wav2Vec2Config::receptive_field() const {
  std::int64_t field = 1;
  for (std::size_t i = convolutions.size(); i-- > 0;)
    field = (field - 1) * convolutions[i].stride + convolutions[i].kernel;
  return field;
}

std::int64_t Wav2Vec2Config::hop() const {
  std::int64_t hop = 1;
  for (const Convolution& layer : convolutions) hop *= layer.stride;
  return hop;
}

Wav2Vec2Config published_wav2vec2_config() {
  Wav2Vec2Config config{};
  config.convolutions = {{512, 10, 5}, {512, 3, 2}, {512, 3, 2}, {512, 3, 2},
                         {512, 3, 2},  {512, 2, 2}, {512, 2, 2}};
  config.dim = 1024;
  config.num_heads = 16;
  config.num_layers = 24;
  config.dim_ffn = 4096;
  config.position_kernel = 128;
  config.position_groups = 16;
  config.eps = 1e-5f;
  return config;
}

Wav2Vec2Config read_wav2vec2_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  const nlohmann::json json = read_json_file(file, kDepth, kRemedy);
  Wav2Vec2Config config = read_config(JsonReader(json, file.string()));
  const std::filesystem::path samples = folder / "preprocessor_config.json";
  if (!file_exists(samples)) return config;
  const nlohmann::json stated = read_json_file(samples, kDepth, kRemedy);
  const JsonReader reader(stated, samples.string());
  config.normalizes = reader.boolean_or("do_normalize", true);
  constexpr std::int64_t kRate = 16'000;
  if (const auto rate = reader.find("sampling_rate"))
    WAN_CHECK(rate->integer() == kRate, kUnsupported,
              "{}: expected sounds of {} samples a second, got {}; {}", samples.string(), kRate,
              rate->integer(), kRemedy);
  return config;
}

Wav2Vec2Config parse_wav2vec2_config(std::string_view json, const std::string& where) {
  const nlohmann::json parsed = parse_strict_json(json, where, kDepth, kRemedy);
  return read_config(JsonReader(parsed, where));
}

}  // namespace wan
