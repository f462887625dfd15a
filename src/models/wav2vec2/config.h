#pragma once
// Wav2Vec2Config: the dimensions of a wav2vec 2.0 audio encoder, from its config.json.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "weights/weight_scope.h"

namespace wan {

struct Wav2Vec2Config {
  struct Convolution {
    std::int64_t channels;
    std::int64_t kernel;
    std::int64_t stride;
  };
  std::vector<Convolution> convolutions;  // of samples, one after another, without padding
  std::int64_t dim;
  std::int64_t num_heads;
  std::int64_t num_layers;
  std::int64_t dim_ffn;
  std::int64_t position_kernel;  // of the positional convolution, in states
  std::int64_t position_groups;
  float eps;
  bool normalizes = true;  // samples to mean 0, variance 1 (preprocessor_config.json's do_normalize)

  std::int64_t head_dim() const { return dim / num_heads; }
  /// The states of so many samples; 0 where they are fewer than receptive_field().
  std::int64_t states(std::int64_t samples) const;
  /// Samples that one state hears, and from one state to the next.
  std::int64_t receptive_field() const;
  std::int64_t hop() const;
};

/// wav2vec2-large-xlsr-53, which the published checkpoints have.
Wav2Vec2Config published_wav2vec2_config();

/// From `folder`'s config.json, and preprocessor_config.json where there is one. Throws BadFile, naming file and member, for
/// dimensions that contradict one another, Unsupported for another kind of encoder than wav2vec2-large-xlsr-53
/// ("do_stable_layer_norm", layer norms after each convolution).
Wav2Vec2Config read_wav2vec2_config(const std::filesystem::path& folder);

/// The same of a config.json's text, which errors call `where`.
Wav2Vec2Config parse_wav2vec2_config(std::string_view json, const std::string& where);

}  // namespace wan
