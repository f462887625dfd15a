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

/// What character animation has besides; all of it from tensors' shapes.
struct AnimateConfig {
  std::int64_t pose_dim;           // latent channels of poses
  std::int64_t image_dim;          // width of the image encoder's tokens
  std::int64_t motion_dim;         // of the vector that a face becomes
  std::int64_t motion_directions;  // along which it goes
  int motion_layers;               // linear ones, of which the last gives the directions' shares
  std::vector<std::int64_t>
      face_channels;        // of the motion encoder's pictures, each half as wide as the one before
  std::int64_t face_dim;    // width of the face encoder
  std::int64_t face_heads;  // tokens made of a latent frame's face; the padding token is one more

  /// Pixels of a face's side: the last picture has 4.
  std::int64_t face_size() const { return std::int64_t{4} << (face_channels.size() - 1); }
};

struct WanConfig {
  std::string model_type;  // "t2v", "i2v", "ti2v", "s2v", "animate", ...
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
  std::optional<SpeechConfig> speech = {};    // of model_type "s2v"
  std::optional<AnimateConfig> animate = {};  // of model_type "animate"

  std::int64_t head_dim() const { return dim / num_heads; }
};

/// Blocks of an animation model that a face block follows, ascending.
std::vector<int> face_blocks(const WanConfig& config);
/// The number of the face block after a block; -1: there is none.
int face_block_after(const WanConfig& config, int block);

/// Cells of the latent in a patch.
std::int64_t patch_volume(const WanConfig& config);

/// From the text of a config.json (the official keys; `where` names it in errors); text_dim, patch, audio_layers and sizes
/// of animation, which it does not tell, are left 0. An animation model's has no "model_type"; its "_class_name", or what it
/// alone has, tells it. Throws BadFile naming the key that is missing, of a wrong type or impossible (heads that do not
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
