#pragma once
// Additions to weights, as LoRA files have them, and what makes weights' changes of them.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "weights/checkpoint.h"

namespace wan {

/// One addition to a weight of [rows, columns], all other dimensions joined to the columns.
class LoraDelta {
 public:
  virtual ~LoraDelta() = default;
  /// Adds what it adds to columns [begin, begin + values.size()) of `row`. Thread-safe.
  virtual void add(std::int64_t row, std::int64_t begin, std::span<float> values) const = 0;
};

/// A matrix in f32.
struct LoraMatrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<float> values;

  bool empty() const { return values.empty(); }
  std::span<const float> row(std::int64_t index) const {
    return std::span(values).subspan(static_cast<std::size_t>(index * columns),
                                     static_cast<std::size_t>(columns));
  }
};

/// A tensor's values in f32, its first dimension the rows. Throws BadFile for one that holds no floating-point numbers.
LoraMatrix load_matrix(const Checkpoint& file, const TensorEntry& entry);
LoraMatrix product(const LoraMatrix& a, const LoraMatrix& b);

/// factor * up [rows, rank] * down [rank, columns].
std::unique_ptr<LoraDelta> low_rank_delta(LoraMatrix up, LoraMatrix down, float factor);
/// factor * (a1 b1) . (a2 b2), elementwise.
std::unique_ptr<LoraDelta> hadamard_delta(LoraMatrix a1, LoraMatrix b1, LoraMatrix a2, LoraMatrix b2,
                                          float factor);
/// factor * kron(a, b).
std::unique_ptr<LoraDelta> kronecker_delta(LoraMatrix a, LoraMatrix b, float factor);
/// factor * difference.
std::unique_ptr<LoraDelta> whole_delta(LoraMatrix difference, float factor);

/// What one file does to a weight.
struct LoraStep {
  std::vector<std::unique_ptr<LoraDelta>> deltas = {};
  std::optional<LoraMatrix> set = {};  // stands in the weight's place
  /// DoRA: each row, or column, is brought to this norm, with `strength` of the difference that makes.
  std::vector<float> magnitude = {};
  bool magnitude_of_rows = true;
  float strength = 1;
};

/// Does the steps one after the other, in f32. `weight` is of a checkpoint that outlives the change, as its files do.
std::shared_ptr<const WeightChange> lora_change(const TensorEntry& weight, std::vector<LoraStep> steps);

}  // namespace wan
