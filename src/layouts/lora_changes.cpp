#include "layouts/lora_changes.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "weights/convert.h"

namespace wan {

namespace {

class LowRankDelta final : public LoraDelta {
 public:
  LowRankDelta(LoraMatrix up, LoraMatrix down, float factor)
      : up_(std::move(up)), down_(std::move(down)), factor_(factor) {}

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    std::vector<float> sum(values.size());
    const std::span<const float> weights = up_.row(row);
    for (std::int64_t k = 0; k < down_.rows; ++k) {
      const float weight = weights[static_cast<std::size_t>(k)];
      const float* const down = down_.row(k).data() + begin;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * down[i];
    }
    for (std::size_t i = 0; i < sum.size(); ++i) values[i] += factor_ * sum[i];
  }

 private:
  LoraMatrix up_, down_;
  float factor_;
};

class HadamardDelta final : public LoraDelta {
 public:
  HadamardDelta(LoraMatrix a1, LoraMatrix b1, LoraMatrix a2, LoraMatrix b2, float factor)
      : first_(std::move(a1), std::move(b1), 1), second_(std::move(a2), std::move(b2), 1), factor_(factor) {}

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    std::vector<float> first(values.size());
    std::vector<float> second(values.size());
    first_.add(row, begin, first);
    second_.add(row, begin, second);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += factor_ * first[i] * second[i];
  }

 private:
  LowRankDelta first_, second_;
  float factor_;
};

class KroneckerDelta final : public LoraDelta {
 public:
  KroneckerDelta(LoraMatrix a, LoraMatrix b, float factor)
      : a_(std::move(a)), b_(std::move(b)), factor_(factor) {}

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    const std::span<const float> outer = a_.row(row / b_.rows);
    const std::span<const float> inner = b_.row(row % b_.rows);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t column = begin + static_cast<std::int64_t>(i);
      values[i] += factor_ * outer[static_cast<std::size_t>(column / b_.columns)] *
                   inner[static_cast<std::size_t>(column % b_.columns)];
    }
  }

 private:
  LoraMatrix a_, b_;
  float factor_;
};

class WholeDelta final : public LoraDelta {
 public:
  WholeDelta(LoraMatrix difference, float factor) : difference_(std::move(difference)), factor_(factor) {}

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    const float* const difference = difference_.row(row).data() + begin;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += factor_ * difference[i];
  }

 private:
  LoraMatrix difference_;
  float factor_;
};

class LoraChange final : public WeightChange {
 public:
  LoraChange(const TensorEntry& weight, std::vector<LoraStep> steps)
      : weight_(weight), columns_(weight.elements() / weight.shape[0]), steps_(std::move(steps)) {
    weight_.change = {};
    for (std::size_t i = 0; i < steps_.size(); ++i)
      if (!steps_[i].magnitude.empty() && !steps_[i].magnitude_of_rows) norms_of_columns(i);
  }

  void apply(std::int64_t first, std::span<float> values) const override {
    for (std::size_t done = 0; done < values.size();) {
      const std::int64_t at = first + static_cast<std::int64_t>(done);
      const std::int64_t begin = at % columns_;
      const auto count = static_cast<std::size_t>(
          std::min(columns_ - begin, static_cast<std::int64_t>(values.size() - done)));
      apply_to_row(at / columns_, begin, values.subspan(done, count));
      done += count;
    }
  }

 private:
  void apply_to_row(std::int64_t row, std::int64_t begin, std::span<float> values) const {
    for (std::size_t i = 0; i < steps_.size(); ++i) step(i, row, begin, values);
  }

  void step(std::size_t index, std::int64_t row, std::int64_t begin, std::span<float> values) const {
    const LoraStep& step = steps_[index];
    if (step.set) std::copy_n(step.set->row(row).data() + begin, values.size(), values.begin());
    if (step.magnitude.empty()) {
      for (const auto& delta : step.deltas) delta->add(row, begin, values);
      return;
    }
    std::vector<float> directed(values.begin(), values.end());
    for (const auto& delta : step.deltas) delta->add(row, begin, directed);
    const bool of_columns = index < column_norms_.size() && !column_norms_[index].empty();
    const double row_norm = of_columns ? 0 : norm_of_row(index, row);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t column = static_cast<std::size_t>(begin) + i;
      const double norm = of_columns ? column_norms_[index][column] : row_norm;
      const double size = step.magnitude[of_columns ? column : static_cast<std::size_t>(row)];
      const double turned = norm > 0 ? directed[i] * (size / norm) : 0.0;
      values[i] = static_cast<float>(values[i] + step.strength * (turned - values[i]));
    }
  }

  /// A row before step `index`, with that one's deltas.
  std::vector<float> directed_row(std::size_t index, std::int64_t row) const {
    std::vector<float> whole(static_cast<std::size_t>(columns_));
    convert_part(weight_.view(), row * columns_,
                 TensorView(reinterpret_cast<std::byte*>(whole.data()), DType::kF32, Shape{columns_}));
    for (std::size_t i = 0; i < index; ++i) step(i, row, 0, whole);
    for (const auto& delta : steps_[index].deltas) delta->add(row, 0, whole);
    return whole;
  }

  double norm_of_row(std::size_t index, std::int64_t row) const {
    double sum = 0;
    for (const float value : directed_row(index, row)) sum += static_cast<double>(value) * value;
    return std::sqrt(sum);
  }

  void norms_of_columns(std::size_t index) {
    column_norms_.resize(steps_.size());
    std::vector<double> sums(static_cast<std::size_t>(columns_));
    for (std::int64_t row = 0; row < weight_.shape[0]; ++row) {
      const std::vector<float> whole = directed_row(index, row);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(whole[i]) * whole[i];
    }
    for (double& sum : sums) sum = std::sqrt(sum);
    column_norms_[index] = std::move(sums);
  }

  TensorEntry weight_;
  std::int64_t columns_;
  std::vector<LoraStep> steps_;
  std::vector<std::vector<double>> column_norms_;  // by step; empty where it has none
};

}  // namespace

LoraMatrix load_matrix(const Checkpoint& file, const TensorEntry& entry) {
  WAN_CHECK(is_floating(entry.dtype), kBadFile, "{}: {} holds no floating-point numbers", file.path(),
            quote_name(entry.name));
  LoraMatrix matrix;
  matrix.rows = entry.shape.rank() == 0 ? 1 : entry.shape[0];
  matrix.values.resize(static_cast<std::size_t>(entry.elements()));
  matrix.columns = matrix.rows > 0 ? entry.elements() / matrix.rows : 0;
  if (matrix.empty()) return matrix;
  convert_part(
      entry.view(), 0,
      TensorView(reinterpret_cast<std::byte*>(matrix.values.data()), DType::kF32, Shape{entry.elements()}));
  file.check_read(entry);
  file.release_pages(entry);
  return matrix;
}

LoraMatrix product(const LoraMatrix& a, const LoraMatrix& b) {
  LoraMatrix result{.rows = a.rows, .columns = b.columns, .values = {}};
  result.values.resize(static_cast<std::size_t>(a.rows * b.columns));
  for (std::int64_t row = 0; row < a.rows; ++row)
    for (std::int64_t k = 0; k < a.columns; ++k)
      for (std::int64_t column = 0; column < b.columns; ++column)
        result.values[static_cast<std::size_t>(row * b.columns + column)] +=
            a.row(row)[static_cast<std::size_t>(k)] * b.row(k)[static_cast<std::size_t>(column)];
  return result;
}

std::unique_ptr<LoraDelta> low_rank_delta(LoraMatrix up, LoraMatrix down, float factor) {
  return std::make_unique<LowRankDelta>(std::move(up), std::move(down), factor);
}

std::unique_ptr<LoraDelta> hadamard_delta(LoraMatrix a1, LoraMatrix b1, LoraMatrix a2, LoraMatrix b2,
                                          float factor) {
  return std::make_unique<HadamardDelta>(std::move(a1), std::move(b1), std::move(a2), std::move(b2), factor);
}

std::unique_ptr<LoraDelta> kronecker_delta(LoraMatrix a, LoraMatrix b, float factor) {
  return std::make_unique<KroneckerDelta>(std::move(a), std::move(b), factor);
}

std::unique_ptr<LoraDelta> whole_delta(LoraMatrix difference, float factor) {
  return std::make_unique<WholeDelta>(std::move(difference), factor);
}

std::shared_ptr<const WeightChange> lora_change(const TensorEntry& weight, std::vector<LoraStep> steps) {
  return std::make_shared<LoraChange>(weight, std::move(steps));
}

}  // namespace wan
