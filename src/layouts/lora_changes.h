#pragma once
// Additions to weights, as LoRA files have them, and what makes weights' changes of them. Their numbers stay in the mapped file, and are
// converted when a weight is loaded.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "weights/checkpoint.h"

namespace wan {

/// A tensor of a LoRA's file as a matrix: its first dimension the rows, all others joined to the columns. Copies are cheap, and keep the file mapped.
class LoraTensor {
 public:
  /// Throws BadFile for one that holds no floating-point numbers.
  LoraTensor(Checkpoint file, const TensorEntry& entry);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t elements() const { return rows_ * columns_; }
  /// As many elements in other rows.
  void set_rows(std::int64_t rows);
  /// `count` values in f32 from the row-major index `first` on.
  std::vector<float> read(std::int64_t first, std::int64_t count) const;
  /// See WeightChange.
  void done_reading() const;

 private:
  Checkpoint file_;
  TensorEntry entry_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
};

/// [begin, end)
struct LoraRowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

/// Rows of a matrix in f32, from `first` on.
struct LoraMatrix {
  std::int64_t rows = 0;  // of all of it
  std::int64_t columns = 0;
  std::int64_t first = 0;
  std::vector<float> values;

  std::span<const float> row(std::int64_t index) const {
    return std::span(values).subspan(static_cast<std::size_t>((index - first) * columns),
                                     static_cast<std::size_t>(columns));
  }
};

/// What is added to rows of a weight of [rows, columns], ready to be added.
class LoraRows {
 public:
  virtual ~LoraRows() = default;
  /// To columns [begin, begin + values.size()) of `row`. Thread-safe.
  virtual void add(std::int64_t row, std::int64_t begin, std::span<float> values) const = 0;
};

/// factor * up [rows, rank] * down [rank, columns].
struct LoraPair {
  LoraTensor up;
  LoraTensor down;
  float factor;
};

/// One addition to a weight of [rows, columns], all other dimensions joined to the columns.
struct LoraDelta {
  /// Reads what is needed for these rows.
  std::function<std::unique_ptr<LoraRows>(LoraRowRange rows)> open;
  std::vector<LoraTensor> tensors;    // that it reads
  std::optional<LoraPair> pair = {};  // where it is one
  std::int64_t made = 0;              // values that opening it computes
};

/// up [rows, rank] * down [rank, columns]. With a core of [rank of up, rank of down, kernel] between them, which LyCORIS calls a Tucker decomposition, a matrix
/// of [rows, columns * kernel]: the sum over i and j of up[row, i] * core[i, j, k] * down[j, column].
struct LoraProduct {
  LoraTensor up;
  LoraTensor down;
  std::optional<LoraTensor> core = {};
  bool up_by_columns = false;  // `up` is [rank, rows]

  std::int64_t rows() const { return up_by_columns ? up.columns() : up.rows(); }
  std::int64_t kernel() const { return core ? core->columns() / down.rows() : 1; }
  std::int64_t columns() const { return down.columns() * kernel(); }
};

/// factor * product.
LoraDelta low_rank_delta(const LoraProduct& product, float factor);
/// factor * first . second, elementwise.
LoraDelta hadamard_delta(const LoraProduct& first, const LoraProduct& second, float factor);
using LoraFactor = std::variant<LoraTensor, LoraProduct>;
/// factor * kron(a, b).
LoraDelta kronecker_delta(const LoraFactor& a, const LoraFactor& b, float factor);
/// factor * difference.
LoraDelta whole_delta(LoraTensor difference, float factor);

/// What one file does to a weight.
struct LoraStep {
  std::vector<LoraDelta> deltas = {};
  std::optional<LoraTensor> set = {};  // stands in the weight's place
  /// DoRA: each row, or column, is brought to this norm, with `strength` of the difference that makes.
  std::vector<float> magnitude = {};
  bool magnitude_of_rows = true;
  float strength = 1;
};

/// Does the steps one after the other, in f32. `weight` is of a checkpoint that outlives the change, as its files do. Where all of them add products of two
/// matrices, the change has factors: all stacked, with zeros up to a multiple of 8.
std::shared_ptr<const WeightChange> lora_change(const TensorEntry& weight, std::vector<LoraStep> steps);

}  // namespace wan
