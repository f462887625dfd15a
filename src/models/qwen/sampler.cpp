#include "models/qwen/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>
#include <vector>

#include "base/error.h"

namespace wan {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// The first of the highest scores.
std::int64_t likeliest(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

}  // namespace

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

void keep_top_k(std::span<float> logits, std::int64_t top_k) {
  if (top_k <= 0 || top_k >= static_cast<std::int64_t>(logits.size())) return;
  // The best so far, the least of them first: of a vocabulary's scores few get in.
  std::priority_queue<float, std::vector<float>, std::greater<>> best;
  for (const float score : logits) {
    if (static_cast<std::int64_t>(best.size()) == top_k) {
      if (score <= best.top()) continue;
      best.pop();
    }
    best.push(score);
  }
  const float least = best.top();
  for (float& score : logits)
    if (score < least) score = kNever;
}

void keep_top_p(std::span<float> logits, double top_p) {
  if (top_p >= 1.0) return;
  std::vector<std::size_t> order;
  for (std::size_t id = 0; id < logits.size(); ++id)
    if (logits[id] > kNever) order.push_back(id);
  if (order.empty()) return;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] < logits[b]; });
  const float highest = logits[order.back()];
  double total = 0;
  for (const std::size_t id : order) total += std::exp(static_cast<double>(logits[id] - highest));
  double sum = 0;
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    sum += std::exp(static_cast<double>(logits[order[i]] - highest)) / total;
    if (sum > 1.0 - top_p) break;
    logits[order[i]] = kNever;
  }
}

void shape_scores(const SamplingConfig& config, std::span<float> logits, std::span<const std::int64_t> text) {
  penalize_repetitions(logits, text, config.repetition_penalty);
  if (!config.samples) return;
  const auto temperature = static_cast<float>(config.temperature);
  for (float& score : logits) score /= temperature;
  keep_top_k(logits, config.top_k);
  keep_top_p(logits, config.top_p);
}

std::int64_t TokenSampler::next(std::span<float> logits, std::span<const std::int64_t> text) {
  for (const float score : logits)
    WAN_CHECK(!std::isnan(score), kInternal,
              "the language model's scores are not numbers: its weights are damaged; download them again");
  shape_scores(config_, logits, text);
  if (!config_.samples) return likeliest(logits);
  const float highest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float score : logits)
    if (score > kNever) total += std::exp(static_cast<double>(score - highest));
  // 53 bits, in [0, 1).
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  std::int64_t chosen = likeliest(logits);
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] == kNever) continue;
    chosen = static_cast<std::int64_t>(id);
    left -= std::exp(static_cast<double>(logits[id] - highest));
    if (left < 0) break;
  }
  return chosen;
}

}  // namespace wan
