#pragma once
// QwenConfig: the dimensions of a language model of Qwen2.5's kind, from its config.json; and how it is sampled, from its
// generation_config.json.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// The half that sees, of Qwen2.5-VL.
struct QwenVisionConfig {
  std::int64_t dim;
  std::int64_t num_layers;
  std::int64_t num_heads;
  std::int64_t dim_ffn;
  std::int64_t out_dim;                    // the language model's
  std::int64_t patch;                      // pixels a side
  std::int64_t frames;                     // of a patch; a still is all of them
  std::int64_t merge;                      // patches a side that become one token
  std::int64_t window;                     // pixels a side within which most layers attend
  std::vector<std::int64_t> whole_layers;  // those that attend to the whole picture
  float eps = 1e-6f;                       // of all norms, which is in the official code alone

  std::int64_t head_dim() const { return dim / num_heads; }
  std::int64_t patch_values() const { return 3 * frames * patch * patch; }
  std::int64_t merged_dim() const { return merge * merge * dim; }
  /// Pixels a side of a token.
  std::int64_t token_side() const { return patch * merge; }
};

struct QwenConfig {
  std::int64_t vocabulary;
  std::int64_t dim;
  std::int64_t num_layers;
  std::int64_t num_heads;
  std::int64_t num_key_heads;  // each shared by num_heads / num_key_heads heads
  std::int64_t head_dim;
  std::int64_t dim_ffn;
  std::int64_t max_tokens;  // positions that the model was trained on
  float eps;                // of all norms
  double rope_theta;
  bool has_biases;         // of queries, keys and values
  bool shares_embeddings;  // the head is the table of token embeddings
  /// A head's rotary pairs that turn with a token's time, row and column; text has one position for all three.
  std::array<std::int64_t, 3> rope_pairs;
  std::optional<QwenVisionConfig> vision = {};

  std::int64_t query_dim() const { return num_heads * head_dim; }
  std::int64_t key_dim() const { return num_key_heads * head_dim; }
};

/// From `folder`'s config.json: "qwen2", "llama" where it is the same network without biases, and the text half of "qwen2_5_vl".
/// Throws BadFile, naming file and member, for dimensions that contradict one another, Unsupported for another network.
QwenConfig read_qwen_config(const std::filesystem::path& folder);
/// The same of a config.json's text, which errors call `where`.
QwenConfig parse_qwen_config(std::string_view json, const std::string& where);

/// The same from the pairs of a GGUF file, whose table of token embeddings has `vocabulary` rows. Throws BadFile, naming `file` and the key, and Unsupported for
/// another network than "qwen2".
QwenConfig qwen_config_of_gguf(const std::map<std::string, std::string>& pairs, std::int64_t vocabulary,
                               bool shares_embeddings, const std::string& file);

/// How the next token is drawn: transformers' defaults where a file says nothing.
struct SamplingConfig {
  bool samples = false;  // otherwise the likeliest token is taken
  double temperature = 1.0;
  std::int64_t top_k = 50;  // 0: all
  double top_p = 1.0;
  double repetition_penalty = 1.0;
  std::vector<std::int64_t> end_ids;  // a token that ends the text
};

/// From `folder`'s generation_config.json, or, where there is none, the end of config.json alone. Throws BadFile.
SamplingConfig read_sampling_config(const std::filesystem::path& folder);
SamplingConfig parse_sampling_config(std::string_view json, const std::string& where);

}  // namespace wan
