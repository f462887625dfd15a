#include "models/wan/config.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"
#include "json/strict_json.h"

namespace wan {

namespace {

/// A config.json under validation: every failed access names the file and the key.
class ConfigReader {
 public:
  ConfigReader(nlohmann::json json, std::string path) : path_(std::move(path)), json_(std::move(json)) {
    WAN_CHECK(json_.is_object(), kBadFile, "{} is not a JSON object; download it again", path_);
  }

  std::int64_t positive(const char* key) const {
    const auto found = json_.find(key);
    WAN_CHECK(found != json_.end() && found->is_number_integer(), kBadFile, "{} has no integer \"{}\"", path_,
              key);
    constexpr std::int64_t kMost = 1 << 20;  // far above any model, far below overflow in products
    const auto value = found->get<std::int64_t>();
    WAN_CHECK(value >= 1 && value <= kMost, kBadFile, "{}: \"{}\" is {}, expected 1 to {}", path_, key, value,
              kMost);
    return value;
  }

  double number(const char* key) const {
    const auto found = json_.find(key);
    WAN_CHECK(found != json_.end() && found->is_number(), kBadFile, "{} has no number \"{}\"", path_, key);
    return found->get<double>();
  }

  bool has(const char* key) const { return json_.contains(key); }

  std::string text(const char* key) const {
    const auto found = json_.find(key);
    WAN_CHECK(found != json_.end() && found->is_string(), kBadFile, "{} has no string \"{}\"", path_, key);
    std::string value = found->get<std::string>();
    WAN_CHECK(value.size() <= 64, kBadFile, "{}: \"{}\" is {}, expected a word", path_, key,
              quote_name(value));
    return value;
  }

  bool flag(const char* key) const {
    const auto found = json_.find(key);
    WAN_CHECK(found != json_.end() && found->is_boolean(), kBadFile, "{} has no \"{}\" that is true or false",
              path_, key);
    return found->get<bool>();
  }

  /// Numbers of blocks, ascending.
  std::vector<int> blocks(const char* key, std::int64_t count) const {
    const auto found = json_.find(key);
    WAN_CHECK(found != json_.end() && found->is_array() && !found->empty(), kBadFile, "{} has no list \"{}\"",
              path_, key);
    std::vector<int> blocks;
    for (const nlohmann::json& block : *found) {
      const std::int64_t lowest = blocks.empty() ? 0 : blocks.back() + 1;
      WAN_CHECK(block.is_number_integer() && block.get<std::int64_t>() >= lowest &&
                    block.get<std::int64_t>() < count,
                kBadFile, "{}: \"{}\" does not list some of {} blocks in ascending order", path_, key, count);
      blocks.push_back(block.get<int>());
    }
    return blocks;
  }

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  nlohmann::json json_;
};

constexpr int kDepth = 8;  // the official files have one level
constexpr const char* kRemedy = "take all files of a diffusion model's folder from one checkpoint";

/// The official code takes a listed block's number for the beginning of a block's name: 1 would be 1, 10, 11 ...
void check_injected_blocks(const ConfigReader& json, const std::vector<int>& listed, std::int64_t count) {
  for (const int block : listed)
    WAN_CHECK(block == 0 || std::int64_t{block} * 10 >= count, kBadFile,
              "{}: \"audio_inject_layers\" has block {}, which the official code takes for block {} too",
              json.path(), block, block * 10);
}

SpeechConfig read_speech_config(const ConfigReader& json, std::int64_t layers) {
  const auto expect = [&](const char* key, bool value) {
    WAN_CHECK(json.flag(key) == value, kBadFile,
              "{}: \"{}\" is {}; of speech-to-video models only the kind of Wan2.2-S2V-14B is supported",
              json.path(), key, !value);
  };
  expect("enable_framepack", true);
  expect("enable_motioner", false);
  expect("add_last_motion", true);
  expect("zero_timestep", true);
  expect("enable_adain", true);
  const std::string mode = json.text("adain_mode");
  WAN_CHECK(
      mode == "attn_norm", kBadFile,
      "{}: \"adain_mode\" is {}; of speech-to-video models only the kind of Wan2.2-S2V-14B is supported",
      json.path(), quote_name(mode));
  SpeechConfig config{};
  config.pose_dim = json.positive("cond_dim");
  config.audio_dim = json.positive("audio_dim");
  config.audio_tokens = json.positive("num_audio_token");
  config.inject_layers = json.blocks("audio_inject_layers", layers);
  check_injected_blocks(json, config.inject_layers, layers);
  return config;
}

constexpr int kBlocksToAFace = 5;

/// The official animation model's config.json has no "model_type".
std::string model_type_of(const ConfigReader& json) {
  const bool animates =
      !json.has("model_type") && (json.has("motion_encoder_dim") ||
                                  (json.has("_class_name") && json.text("_class_name") == "WanAnimateModel"));
  return animates ? "animate" : json.text("model_type");
}

void check_animate_config(const ConfigReader& json, const WanConfig& config) {
  WAN_CHECK(config.num_layers % kBlocksToAFace == 0, kBadFile,
            "{}: \"num_layers\" is {}; an animation model has a multiple of {}", json.path(),
            config.num_layers, kBlocksToAFace);
  WAN_CHECK(
      !json.has("use_img_emb") || json.flag("use_img_emb"), kBadFile,
      "{}: \"use_img_emb\" is false; of animation models only the kind of Wan2.2-Animate-14B is supported",
      json.path());
}

/// What of an animation model only its tensors tell.
AnimateConfig read_animate_sizes(const WeightScope& weights) {
  AnimateConfig config{};
  const auto shape = [&](const char* name, int rank) { return weights.require_shape(name, rank, kRemedy); };
  config.pose_dim = shape("pose_patch_embedding.weight", 5)[1];
  config.image_dim = shape("img_emb.proj.1.weight", 2)[1];
  const Shape directions = shape("motion_encoder.dec.direction.weight", 2);
  config.motion_dim = directions[0];
  config.motion_directions = directions[1];
  const std::string& file = weights.report().checkpoint().path();
  WAN_CHECK(config.motion_directions >= 1 && config.motion_directions <= config.motion_dim, kBadFile,
            "{}: motion_encoder.dec.direction.weight is {}; {}", file, directions.to_string(), kRemedy);
  config.motion_layers = weights.count_children("motion_encoder.enc.fc");
  constexpr int kMostLevels = 12;  // faces of 8192 pixels
  const int levels = weights.count_children("motion_encoder.enc.net_app.convs") - 2;
  WAN_CHECK(levels >= 1 && levels <= kMostLevels && config.motion_layers >= 1, kBadFile,
            "{}: a motion encoder of {} levels and {} linear layers; {}", file, levels, config.motion_layers,
            kRemedy);
  config.face_channels = {shape("motion_encoder.enc.net_app.convs.0.0.weight", 4)[0]};
  for (int level = 1; level <= levels; ++level) {
    const std::string name = "motion_encoder.enc.net_app.convs." + std::to_string(level) + ".conv2.1.weight";
    config.face_channels.push_back(shape(name.c_str(), 4)[0]);
  }
  config.face_dim = shape("face_encoder.conv2.conv.weight", 3)[0];
  const std::int64_t all_heads = shape("face_encoder.conv1_local.conv.weight", 3)[0];
  WAN_CHECK(config.face_dim >= 1 && all_heads >= config.face_dim && all_heads % config.face_dim == 0,
            kBadFile, "{}: face_encoder's convolutions have {} and {} channels; {}", file, all_heads,
            config.face_dim, kRemedy);
  config.face_heads = all_heads / config.face_dim;
  std::vector<std::int64_t> widths = config.face_channels;
  widths.insert(widths.end(), {config.pose_dim, config.image_dim});
  WAN_CHECK(std::ranges::min(widths) >= 1, kBadFile, "{}: a part of the animation model has no channels; {}",
            file, kRemedy);
  return config;
}

WanConfig read_config(const ConfigReader& json) {
  WanConfig config{};
  config.model_type = model_type_of(json);
  config.dim = json.positive("dim");
  config.ffn_dim = json.positive("ffn_dim");
  config.freq_dim = json.positive("freq_dim");
  config.in_dim = json.positive("in_dim");
  config.out_dim = json.positive("out_dim");
  config.num_heads = json.positive("num_heads");
  config.num_layers = json.positive("num_layers");
  config.text_len = json.positive("text_len");
  config.eps = static_cast<float>(json.number("eps"));
  WAN_CHECK(config.dim % config.num_heads == 0 && config.head_dim() % 2 == 0, kBadFile,
            "{}: {} heads do not divide a width of {} into even parts", json.path(), config.num_heads,
            config.dim);
  WAN_CHECK(config.freq_dim % 2 == 0, kBadFile, "{}: \"freq_dim\" is odd", json.path());
  WAN_CHECK(config.eps > 0.0f && config.eps < 1.0f, kBadFile, "{}: \"eps\" is {}", json.path(), config.eps);
  if (config.model_type == "animate") check_animate_config(json, config);
  if (config.model_type == "s2v") {
    config.speech = read_speech_config(json, config.num_layers);
    WAN_CHECK(config.dim % 4 == 0, kBadFile, "{}: \"dim\" is {}, which the audio encoder cannot divide by 4",
              json.path(), config.dim);
    WAN_CHECK(config.in_dim == config.out_dim, kBadFile,
              "{}: \"in_dim\" is {} and \"out_dim\" {}; of speech-to-video models only the kind of "
              "Wan2.2-S2V-14B is supported",
              json.path(), config.in_dim, config.out_dim);
  }
  return config;
}

}  // namespace

std::vector<int> face_blocks(const WanConfig& config) {
  std::vector<int> blocks;
  for (int block = 0; block < static_cast<int>(config.num_layers); block += kBlocksToAFace)
    blocks.push_back(block);
  return blocks;
}

int face_block_after(const WanConfig& config, int block) {
  return block < config.num_layers && block % kBlocksToAFace == 0 ? block / kBlocksToAFace : -1;
}

std::int64_t patch_volume(const WanConfig& config) {
  return std::accumulate(config.patch.begin(), config.patch.end(), std::int64_t{1}, std::multiplies<>());
}

WanConfig parse_wan_config(std::string_view text, const std::string& where) {
  return read_config({parse_strict_json(text, where, kDepth), where});
}

WanConfig read_wan_config(const std::filesystem::path& file) {
  return read_config({read_json_file(file, kDepth), file.string()});
}

WanConfig load_wan_config(const std::filesystem::path& folder, const WeightScope& weights) {
  const std::filesystem::path path = folder / "config.json";
  WAN_CHECK(file_exists(path), kBadFile, "{} is missing; the folder of a diffusion model holds one",
            path.string());
  return complete_wan_config(read_wan_config(path), path.string(), weights);
}

WanConfig complete_wan_config(WanConfig config, const std::string& where, const WeightScope& weights) {
  // Every block holds tensors; what a file cannot hold is refused before each of them is asked for by name.
  const auto most = static_cast<std::int64_t>(weights.report().checkpoint().entries().size());
  WAN_CHECK(config.num_layers <= most, kBadFile, "{}: \"num_layers\" is {}, but {} holds {} tensors in all",
            where, config.num_layers, weights.report().checkpoint().path(), most);
  config.text_dim = weights.require_shape("text_embedding.0.weight", 2, kRemedy)[1];
  if (config.speech)
    config.speech->audio_layers = weights.require_shape("casual_audio_encoder.weights", 4, kRemedy)[1];
  if (config.model_type == "animate") config.animate = read_animate_sizes(weights);
  const Shape patch = weights.require_shape("patch_embedding.weight", 5, kRemedy);
  for (int i = 0; i < 3; ++i) {
    WAN_CHECK(patch[i + 2] >= 1 && patch[i + 2] <= 16, kBadFile, "{}: patch_embedding.weight is {}",
              weights.report().checkpoint().path(), patch.to_string());
    config.patch[static_cast<std::size_t>(i)] = static_cast<int>(patch[i + 2]);
  }
  WAN_CHECK(!config.speech || config.patch == (PatchSize{1, 2, 2}), kBadFile,
            "{}: patch_embedding.weight is {}; a speech-to-video model has patches of 1 x 2 x 2",
            weights.report().checkpoint().path(), patch.to_string());
  WAN_CHECK(!config.animate || config.patch[0] == 1, kBadFile,
            "{}: patch_embedding.weight is {}; an animation model has patches of one latent frame",
            weights.report().checkpoint().path(), patch.to_string());
  return config;
}

WanConfig wan_config_from_shapes(std::string_view model_type, const WeightScope& weights) {
  constexpr std::int64_t kHeadDim = 128;
  constexpr std::int64_t kTextLength = 512;
  const std::string& path = weights.report().checkpoint().path();
  WAN_CHECK(
      model_type != "s2v", kUnsupported,
      "{}: the tensors of a speech-to-video model do not tell all of it; use the official folder, which has "
      "a config.json",
      path);
  const auto shape = [&](const char* name, int rank) {
    return weights.require_shape(name, rank, "the file is damaged or of another model");
  };
  WanConfig config{};
  config.model_type = model_type;
  const Shape patch = shape("patch_embedding.weight", 5);
  config.dim = patch[0];
  config.in_dim = patch[1];
  config.ffn_dim = shape("blocks.0.ffn.0.weight", 2)[0];
  config.freq_dim = shape("time_embedding.0.weight", 2)[1];
  config.num_layers = weights.count_children("blocks");
  config.num_heads = config.dim / kHeadDim;
  config.text_len = kTextLength;
  config.eps = 1e-6f;
  config = complete_wan_config(std::move(config), path, weights);
  const std::int64_t head = shape("head.head.weight", 2)[0];
  WAN_CHECK(
      head > 0 && head % patch_volume(config) == 0 && config.freq_dim % 2 == 0, kBadFile,
      "{}: the shapes of head and time embedding contradict the patches of {}; the file is damaged or of "
      "another model",
      path, patch.to_string());
  config.out_dim = head / patch_volume(config);
  WAN_CHECK(
      config.num_heads > 0 && config.dim % kHeadDim == 0, kBadFile,
      "{}: its shapes do not tell how many heads a width of {} has; put the model's config.json beside it",
      path, config.dim);
  return config;
}

}  // namespace wan
