#include "models/qwen/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"

namespace wan {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// A vocabulary has 150,000 scores and a GPU a few milliseconds for a token: loops over all of them are such as compilers turn into
// vector instructions.

constexpr std::size_t kBlock = 64;
std::span<const float> block_of(std::span<const float> scores, std::size_t block) {
  return scores.subspan(block * kBlock, std::min(kBlock, scores.size() - block * kBlock));
}

/// The highest score of each block. Throws Internal where a score is NaN.
std::vector<float> peaks_of(std::span<const float> scores) {
  constexpr std::size_t kLanes = 16;
  std::vector<float> peaks((scores.size() + kBlock - 1) / kBlock);
  unsigned bad = 0;
  for (std::size_t block = 0; block < peaks.size(); ++block) {
    const std::span<const float> part = block_of(scores, block);
    std::array<float, kLanes> highest;
    highest.fill(kNever);
    std::size_t i = 0;
    for (; i + kLanes <= part.size(); i += kLanes)
      for (std::size_t j = 0; j < kLanes; ++j) {
        bad |= static_cast<unsigned>(part[i + j] != part[i + j]);
        highest[j] = part[i + j] > highest[j] ? part[i + j] : highest[j];
      }
    float peak = *std::max_element(highest.begin(), highest.end());
    for (; i < part.size(); ++i) {
      bad |= static_cast<unsigned>(part[i] != part[i]);
      peak = std::max(peak, part[i]);
    }
    peaks[block] = peak;
  }
  WAN_CHECK(bad == 0, kInternal,
            "the language model's scores are not numbers: its weights are damaged; download them again");
  return peaks;
}

/// The first of the highest scores.
std::int64_t likeliest(std::span<const float> scores) {
  const std::vector<float> peaks = peaks_of(scores);
  const auto block = static_cast<std::size_t>(std::max_element(peaks.begin(), peaks.end()) - peaks.begin());
  const std::span<const float> part = block_of(scores, block);
  return static_cast<std::int64_t>(block * kBlock) +
         (std::find(part.begin(), part.end(), peaks[block]) - part.begin());
}

void penalize_repetitions(std::span<float> logits, std::span<const std::int64_t> text, double penalty) {
  if (penalty == 1.0) return;
  const auto factor = static_cast<float>(penalty);
  std::vector<std::int64_t> ids(text.begin(), text.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= static_cast<std::int64_t>(logits.size())) continue;
    float& score = logits[static_cast<std::size_t>(id)];
    score = score < 0 ? score * factor : score / factor;
  }
}

/// The count-th highest of the scores, 1 or more and no more than there are.
float nth_highest(std::vector<float> scores, std::size_t count) {
  const auto nth = scores.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::nth_element(scores.begin(), nth, scores.end(), std::greater<>());
  return *nth;
}

/// The best and those as good as the last of them; 0: all. None that is -infinity.
std::vector<TokenScore> keep_top_k(std::span<const float> logits, std::int64_t top_k) {
  const std::vector<float> peaks = peaks_of(logits);
  const auto count = static_cast<std::size_t>(top_k);
  const bool all = top_k <= 0 || count >= logits.size();
  // So many blocks have a score that is as high: of all scores, as many at least.
  const float bound = all || count > peaks.size() ? kNever : nth_highest(peaks, count);
  std::vector<TokenScore> kept;
  for (std::size_t block = 0; block < peaks.size(); ++block) {
    if (peaks[block] < bound || peaks[block] == kNever) continue;
    const std::span<const float> part = block_of(logits, block);
    for (std::size_t i = 0; i < part.size(); ++i)
      if (part[i] >= bound && part[i] > kNever)
        kept.push_back({static_cast<std::int64_t>(block * kBlock + i), part[i]});
  }
  if (all || kept.size() <= count) return kept;
  std::vector<float> scores;
  for (const TokenScore& token : kept) scores.push_back(token.score);
  const float least = nth_highest(std::move(scores), count);
  std::erase_if(kept, [&](const TokenScore& token) { return token.score < least; });
  return kept;
}

void keep_top_p(std::vector<TokenScore>& tokens, double top_p) {
  if (top_p >= 1.0 || tokens.empty()) return;
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const TokenScore& a, const TokenScore& b) { return a.score < b.score; });
  const float highest = tokens.back().score;
  const auto weight = [&](const TokenScore& token) {
    return std::exp(static_cast<double>(token.score - highest));
  };
  double total = 0;
  for (const TokenScore& token : tokens) total += weight(token);
  double sum = 0;
  std::size_t gone = 0;
  for (; gone + 1 < tokens.size(); ++gone) {
    sum += weight(tokens[gone]) / total;
    if (sum > 1.0 - top_p) break;
  }
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(gone));
  std::sort(tokens.begin(), tokens.end(),
            [](const TokenScore& a, const TokenScore& b) { return a.id < b.id; });
}

}  // namespace

std::vector<TokenScore> likely_tokens(const SamplingConfig& config, std::span<float> logits,
                                      std::span<const std::int64_t> text) {
  penalize_repetitions(logits, text, config.repetition_penalty);
  const auto temperature = static_cast<float>(config.temperature);
  for (float& score : logits) score /= temperature;
  std::vector<TokenScore> tokens = keep_top_k(logits, config.top_k);
  keep_top_p(tokens, config.top_p);
  return tokens;
}

std::int64_t TokenSampler::next(std::span<float> logits, std::span<const std::int64_t> text) {
  if (!config_.samples) {
    penalize_repetitions(logits, text, config_.repetition_penalty);
    return likeliest(logits);
  }
  const std::vector<TokenScore> tokens = likely_tokens(config_, logits, text);
  float highest = kNever;
  for (const TokenScore& token : tokens) highest = std::max(highest, token.score);
  std::vector<double> weights;
  double total = 0;
  for (const TokenScore& token : tokens) {
    weights.push_back(std::exp(static_cast<double>(token.score - highest)));
    total += weights.back();
  }
  // 53 bits, in [0, 1).
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  std::int64_t chosen = 0;  // of scores that are all -infinity, the first
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    chosen = tokens[i].id;
    left -= weights[i];
    if (left < 0) break;
  }
  return chosen;
}

}  // namespace wan
