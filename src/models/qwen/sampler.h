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

  /// `logits` [vocabulary] are changed; `text` is all tokens so far, the prompt's too.
  std::int64_t next(std::span<float> logits, std::span<const std::int64_t> text);

 private:
  SamplingConfig config_;
  std::mt19937_64 random_;
};

/// All of the order, without a draw: probabilities are the softmax of what is left.
void shape_scores(const SamplingConfig& config, std::span<float> logits, std::span<const std::int64_t> text);

/// Scores of tokens that the text has: positive ones divided by the penalty, others multiplied, once each.
void penalize_repetitions(std::span<float> logits, std::span<const std::int64_t> text, double penalty);
/// Scores below those of the `top_k` best become -infinity; 0 and more than there are leave all. At least one stays.
void keep_top_k(std::span<float> logits, std::int64_t top_k);
/// The least likely tokens, whose probabilities together are at most 1 - top_p, become -infinity. At least one stays.
void keep_top_p(std::span<float> logits, double top_p);

}  // namespace wan
