#pragma once
// WanConfig: the constants of one diffusion transformer, from its checkpoint.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/patchify.h"
#include "weights/weight_scope.h"

namespace wan {

/// What speech to video has besides.
struct SpeechConfig {
  std::int64_t pose_dim;           // latent channels of poses
  std::int64_t audio_dim;          // width of the sound's features
  std::int64_t audio_layers;       // of them, averaged; from casual_audio_encoder.weights
  std::int64_t audio_tokens;       // made of a latent frame's sound; the padding token is one more
  std::vector<int> inject_layers;  // blocks after which the sound is injected, ascending
};

struct WanConfig {
  std::string model_type;  // "t2v", "i2v", "ti2v", "s2v", ...
  std::int64_t dim;        // width of the residual stream
  std::int64_t ffn_dim;
  std::int64_t freq_dim;  // width of the timestep's sinusoid
  std::int64_t in_dim;    // latent channels in, concatenated ones included
  std::int64_t out_dim;   // latent channels out
  std::int64_t num_heads;
  std::int64_t num_layers;
  std::int64_t text_len;  // tokens of the text context, padding included
  std::int64_t text_dim;  // width of the text encoder's output; from text_embedding.0.weight
  PatchSize patch;        // from patch_embedding.weight
  float eps;
  std::optional<SpeechConfig> speech = {};  // of model_type "s2v"

  std::int64_t head_dim() const { return dim / num_heads; }
};

/// Cells of the latent in a patch.
std::int64_t patch_volume(const WanConfig& config);

/// From the text of a config.json (the official keys; `where` names it in errors); text_dim, patch and audio_layers, which it
/// does not tell, are left 0. Throws BadFile naming the key that is missing, of a wrong type or impossible (heads that do not
/// divide dim ...), and for a kind of speech model that was never published (a motioner, another AdaIN, no frame packer).
WanConfig parse_wan_config(std::string_view json, const std::string& where);
/// The same from a file.
WanConfig read_wan_config(const std::filesystem::path& file);

/// Reads `folder`/config.json and completes it. Throws BadFile.
WanConfig load_wan_config(const std::filesystem::path& folder, const WeightScope& weights);

/// Takes from the tensors' shapes what a config.json does not tell. Throws BadFile.
WanConfig complete_wan_config(WanConfig config, const std::string& where, const WeightScope& weights);

/// From the tensors' shapes alone, for files without a config.json, as the published models are: heads of 128, 512 tokens of text. Throws
/// BadFile for shapes that cannot be a published model's, and Unsupported for speech models, whose shapes do not tell all.
WanConfig wan_config_from_shapes(std::string_view model_type, const WeightScope& weights);

}  // namespace wan
