#pragma once
// TokenSampler: the next token from its scores, in the order of transformers' generate(): repetition penalty, temperature, top-k,
// top-p.

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "models/qwen/config.h"

namespace wan {

class TokenSampler {
 public:
  /// The same seed draws the same tokens from the same scores.
  TokenSampler(const SamplingConfig& config, std::uint64_t seed) : config_(config), random_(seed) {}

  /// `logits` [vocabulary] are changed; `text` is all tokens so far, the prompt's too. Throws Internal where a score is NaN.
  std::int64_t next(std::span<float> logits, std::span<const std::int64_t> text);

 private:
  SamplingConfig config_;
  std::mt19937_64 random_;
};

struct TokenScore {
  std::int64_t id;
  float score;
};

/// The tokens that may be drawn, at least one, by their ids: probabilities are the softmax of their scores. `logits` are changed.
/// Scores of tokens that the text has are divided by the penalty where positive, multiplied otherwise, once each; all are divided by
/// the temperature; the top_k best stay, and those as good as the last of them (0: all); of these the least likely go, whose
/// probabilities together are at most 1 - top_p.
std::vector<TokenScore> likely_tokens(const SamplingConfig& config, std::span<float> logits,
                                      std::span<const std::int64_t> text);

}  // namespace wan
