#include "layouts/lora_changes.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "weights/convert.h"

namespace wan {

namespace {

constexpr std::int64_t kRankStep = 8;  // what a GPU's products in bf16 take whole

LoraMatrix read_rows(const LoraTensor& tensor, LoraRowRange rows) {
  return {.rows = tensor.rows(),
          .columns = tensor.columns(),
          .first = rows.begin,
          .values = tensor.read(rows.begin * tensor.columns(), rows.size() * tensor.columns())};
}

LoraMatrix read_all(const LoraTensor& tensor) {
  return read_rows(tensor, {0, tensor.rows()});
}

LoraMatrix read_columns_as_rows(const LoraTensor& tensor, LoraRowRange columns) {
  const std::int64_t count = tensor.rows();
  LoraMatrix turned{.rows = tensor.columns(), .columns = count, .first = columns.begin, .values = {}};
  turned.values.resize(static_cast<std::size_t>(columns.size() * count));
  for (std::int64_t k = 0; k < count; ++k) {
    const std::vector<float> part = tensor.read(k * tensor.columns() + columns.begin, columns.size());
    for (std::int64_t i = 0; i < columns.size(); ++i)
      turned.values[static_cast<std::size_t>(i * count + k)] = part[static_cast<std::size_t>(i)];
  }
  return turned;
}

class ProductRows final : public LoraRows {
 public:
  ProductRows(const LoraProduct& product, LoraRowRange rows, float factor)
      : up_(product.up_by_columns ? read_columns_as_rows(product.up, rows) : read_rows(product.up, rows)),
        down_(read_all(product.down)),
        kernel_(product.kernel()),
        factor_(factor) {
    if (product.core) core_ = read_all(*product.core);
  }

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    std::vector<float> mixed;
    std::span<const float> up = up_.row(row);
    if (core_) {
      mixed = through_core(up);
      up = mixed;
    }
    std::vector<float> sum(values.size());
    for (std::int64_t k = 0; k < down_.rows; ++k) {
      const std::span<const float> down = down_.row(k);
      if (kernel_ == 1) {
        const float weight = up[static_cast<std::size_t>(k)];
        const float* const from = down.data() + begin;
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * from[i];
      } else {
        for (std::size_t i = 0; i < sum.size(); ++i) {
          const std::int64_t column = begin + static_cast<std::int64_t>(i);
          sum[i] += up[static_cast<std::size_t>(k * kernel_ + column % kernel_)] *
                    down[static_cast<std::size_t>(column / kernel_)];
        }
      }
    }
    for (std::size_t i = 0; i < sum.size(); ++i) values[i] += factor_ * sum[i];
  }

 private:
  /// [rank of down, kernel] of a row of `up`.
  std::vector<float> through_core(std::span<const float> up) const {
    std::vector<float> sum(static_cast<std::size_t>(core_->columns));
    for (std::int64_t i = 0; i < core_->rows; ++i) {
      const std::span<const float> core = core_->row(i);
      for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += up[static_cast<std::size_t>(i)] * core[k];
    }
    return sum;
  }

  LoraMatrix up_, down_;
  std::optional<LoraMatrix> core_;
  std::int64_t kernel_;
  float factor_;
};

LoraMatrix read_factor(const LoraFactor& factor) {
  if (const LoraTensor* const whole = std::get_if<LoraTensor>(&factor)) return read_all(*whole);
  const auto& product = std::get<LoraProduct>(factor);
  LoraMatrix result{.rows = product.rows(), .columns = product.columns(), .values = {}};
  result.values.resize(static_cast<std::size_t>(result.rows * result.columns));
  const ProductRows rows(product, {0, result.rows}, 1);
  const auto columns = static_cast<std::size_t>(result.columns);
  for (std::size_t row = 0; row < static_cast<std::size_t>(result.rows); ++row)
    rows.add(static_cast<std::int64_t>(row), 0, std::span(result.values).subspan(row * columns, columns));
  return result;
}

class HadamardRows final : public LoraRows {
 public:
  HadamardRows(ProductRows first, ProductRows second, float factor)
      : first_(std::move(first)), second_(std::move(second)), factor_(factor) {}

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    std::vector<float> first(values.size());
    std::vector<float> second(values.size());
    first_.add(row, begin, first);
    second_.add(row, begin, second);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += factor_ * first[i] * second[i];
  }

 private:
  ProductRows first_, second_;
  float factor_;
};

class KroneckerRows final : public LoraRows {
 public:
  KroneckerRows(LoraMatrix a, LoraMatrix b, float factor)
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

class WholeRows final : public LoraRows {
 public:
  WholeRows(LoraMatrix difference, float factor) : difference_(std::move(difference)), factor_(factor) {}

  void add(std::int64_t row, std::int64_t begin, std::span<float> values) const override {
    const float* const difference = difference_.row(row).data() + begin;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += factor_ * difference[i];
  }

 private:
  LoraMatrix difference_;
  float factor_;
};

/// The values of a stacked factor: of up [rows, rank] the pairs' columns beside one another, each with its pair's factor, and of down, whose
/// rows lie beside one another too, [columns, rank].
class StackedFactor final : public WeightChange {
 public:
  StackedFactor(std::vector<LoraPair> pairs, std::int64_t rank, bool is_up)
      : pairs_(std::move(pairs)), rank_(rank), is_up_(is_up) {}

  void apply(std::int64_t first, std::span<float> values) const override {
    if (values.empty()) return;
    const std::int64_t end = first + static_cast<std::int64_t>(values.size());
    const LoraRowRange rows{first / rank_, (end + rank_ - 1) / rank_};
    const auto put = [&](std::int64_t row, std::int64_t column, float value) {
      const std::int64_t at = row * rank_ + column - first;
      if (at >= 0 && at < end - first) values[static_cast<std::size_t>(at)] = value;
    };
    std::int64_t column = 0;
    for (const LoraPair& pair : pairs_) {
      const std::int64_t rank = pair.down.rows();
      if (is_up_) {
        const LoraMatrix up = read_rows(pair.up, rows);
        for (std::int64_t row = rows.begin; row < rows.end; ++row)
          for (std::int64_t k = 0; k < rank; ++k)
            put(row, column + k, pair.factor * up.row(row)[static_cast<std::size_t>(k)]);
      } else {
        for (std::int64_t k = 0; k < rank; ++k) {
          const std::vector<float> part = pair.down.read(k * pair.down.columns() + rows.begin, rows.size());
          for (std::int64_t row = rows.begin; row < rows.end; ++row)
            put(row, column + k, part[static_cast<std::size_t>(row - rows.begin)]);
        }
      }
      column += rank;
    }
  }
  void done_reading() const override {
    for (const LoraPair& pair : pairs_) (is_up_ ? pair.up : pair.down).done_reading();
  }

 private:
  std::vector<LoraPair> pairs_;
  std::int64_t rank_;
  bool is_up_;
};

/// A tensor of zeros that a change fills.
TensorEntry factor_entry(const std::string& name, const Shape& shape,
                         std::shared_ptr<const WeightChange> change) {
  static constexpr std::array<std::byte, sizeof(float)> kZero{};
  return {.name = name,
          .dtype = DType::kF32,
          .shape = shape,
          .strides = {0, 0},
          .storage = kZero,
          .file = "no file",
          .change = std::move(change)};
}

class LoraChange final : public WeightChange {
 public:
  LoraChange(const TensorEntry& weight, std::vector<LoraStep> steps)
      : weight_(weight),
        rows_(weight.shape.rank() > 0 ? weight.shape[0] : 1),
        columns_(weight.elements() / rows_),
        steps_(std::move(steps)) {
    weight_.change = {};
    for (std::size_t i = 0; i < steps_.size(); ++i)
      if (!steps_[i].magnitude.empty() && !steps_[i].magnitude_of_rows) norms_of_columns(i);
    stack_factors();
  }

  void apply(std::int64_t first, std::span<float> values) const override {
    if (values.empty()) return;
    const std::int64_t end = first + static_cast<std::int64_t>(values.size());
    const std::vector<OpenStep> open = open_steps({first / columns_, (end + columns_ - 1) / columns_});
    for (std::size_t done = 0; done < values.size();) {
      const std::int64_t at = first + static_cast<std::int64_t>(done);
      const std::int64_t begin = at % columns_;
      const auto count = static_cast<std::size_t>(
          std::min(columns_ - begin, static_cast<std::int64_t>(values.size() - done)));
      for (std::size_t i = 0; i < steps_.size(); ++i)
        step(open, i, at / columns_, begin, values.subspan(done, count));
      done += count;
    }
  }

  const WeightFactors* factors() const override { return factors_ ? &*factors_ : nullptr; }

  std::size_t scratch_bytes(std::int64_t count) const override {
    const std::int64_t rows = std::min(rows_, count / columns_ + 2);
    std::int64_t values = 0;
    for (const LoraStep& step : steps_) {
      for (const LoraDelta& delta : step.deltas) {
        values += delta.made;
        for (const LoraTensor& tensor : delta.tensors)
          // Of what has the weight's rows those that are asked for; what is small is read whole.
          values += tensor.rows() == rows_ ? rows * tensor.columns() : tensor.elements();
      }
      if (step.set) values += rows * columns_;
    }
    return static_cast<std::size_t>(values) * sizeof(float);
  }

  void done_reading() const override {
    for (const LoraStep& step : steps_) {
      for (const LoraDelta& delta : step.deltas)
        for (const LoraTensor& tensor : delta.tensors) tensor.done_reading();
      if (step.set) step.set->done_reading();
    }
  }

 private:
  /// A step with what it needs for some rows.
  struct OpenStep {
    std::vector<std::unique_ptr<LoraRows>> deltas;
    LoraMatrix set;
  };

  std::vector<OpenStep> open_steps(LoraRowRange rows) const {
    std::vector<OpenStep> open;
    for (const LoraStep& step : steps_) {
      OpenStep& opened = open.emplace_back();
      for (const LoraDelta& delta : step.deltas) opened.deltas.push_back(delta.open(rows));
      if (step.set) opened.set = read_rows(*step.set, rows);
    }
    return open;
  }

  void stack_factors() {
    std::vector<LoraPair> pairs;
    std::int64_t rank = 0;
    for (const LoraStep& step : steps_) {
      if (step.set || !step.magnitude.empty()) return;
      for (const LoraDelta& delta : step.deltas) {
        if (!delta.pair) return;
        pairs.push_back(*delta.pair);
        rank += delta.pair->down.rows();
      }
    }
    if (pairs.empty() || weight_.shape.rank() != 2) return;
    rank = (rank + kRankStep - 1) / kRankStep * kRankStep;
    const auto entry = [&](const char* what, std::int64_t rows, bool is_up) {
      return factor_entry(weight_.name + what, {rows, rank},
                          std::make_shared<StackedFactor>(pairs, rank, is_up));
    };
    factors_.emplace(WeightFactors{entry(" (up)", rows_, true), entry(" (down)", columns_, false)});
  }

  void step(const std::vector<OpenStep>& open, std::size_t index, std::int64_t row, std::int64_t begin,
            std::span<float> values) const {
    const LoraStep& step = steps_[index];
    const OpenStep& opened = open[index];
    if (step.set) std::copy_n(opened.set.row(row).data() + begin, values.size(), values.begin());
    if (step.magnitude.empty()) {
      for (const auto& delta : opened.deltas) delta->add(row, begin, values);
      return;
    }
    std::vector<float> directed(values.begin(), values.end());
    for (const auto& delta : opened.deltas) delta->add(row, begin, directed);
    const bool of_columns = index < column_norms_.size() && !column_norms_[index].empty();
    const double row_norm = of_columns ? 0 : norm_of_row(open, index, row);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t column = static_cast<std::size_t>(begin) + i;
      const double norm = of_columns ? column_norms_[index][column] : row_norm;
      const double size = step.magnitude[of_columns ? column : static_cast<std::size_t>(row)];
      const double turned = norm > 0 ? directed[i] * (size / norm) : 0.0;
      values[i] = static_cast<float>(values[i] + step.strength * (turned - values[i]));
    }
  }

  /// A row before step `index`, with that one's deltas.
  std::vector<float> directed_row(const std::vector<OpenStep>& open, std::size_t index,
                                  std::int64_t row) const {
    std::vector<float> whole(static_cast<std::size_t>(columns_));
    convert_part(weight_, row * columns_, TensorView(whole.data(), DType::kF32, Shape{columns_}));
    for (std::size_t i = 0; i < index; ++i) step(open, i, row, 0, whole);
    for (const auto& delta : open[index].deltas) delta->add(row, 0, whole);
    return whole;
  }

  double norm_of_row(const std::vector<OpenStep>& open, std::size_t index, std::int64_t row) const {
    double sum = 0;
    for (const float value : directed_row(open, index, row)) sum += static_cast<double>(value) * value;
    return std::sqrt(sum);
  }

  void norms_of_columns(std::size_t index) {
    column_norms_.resize(steps_.size());
    std::vector<double> sums(static_cast<std::size_t>(columns_));
    const std::vector<OpenStep> open = open_steps({0, rows_});
    for (std::int64_t row = 0; row < rows_; ++row) {
      const std::vector<float> whole = directed_row(open, index, row);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(whole[i]) * whole[i];
    }
    for (double& sum : sums) sum = std::sqrt(sum);
    column_norms_[index] = std::move(sums);
  }

  TensorEntry weight_;
  std::int64_t rows_;
  std::int64_t columns_;
  std::vector<LoraStep> steps_;
  std::vector<std::vector<double>> column_norms_;  // by step; empty where it has none
  std::optional<WeightFactors> factors_;
};

void add_tensors(const LoraProduct& product, std::vector<LoraTensor>& tensors) {
  tensors.insert(tensors.end(), {product.up, product.down});
  if (product.core) tensors.push_back(*product.core);
}

}  // namespace

LoraTensor::LoraTensor(Checkpoint file, const TensorEntry& entry) : file_(std::move(file)), entry_(entry) {
  WAN_CHECK(is_floating(entry.dtype), kBadFile, "{}: {} holds no floating-point numbers", file_.path(),
            quote_name(entry.name));
  rows_ = entry.shape.rank() == 0 ? 1 : entry.shape[0];
  columns_ = rows_ > 0 ? entry.elements() / rows_ : 0;
}

void LoraTensor::set_rows(std::int64_t rows) {
  columns_ = elements() / rows;
  rows_ = rows;
}

std::vector<float> LoraTensor::read(std::int64_t first, std::int64_t count) const {
  std::vector<float> values(static_cast<std::size_t>(count));
  if (count > 0) convert_part(entry_.view(), first, TensorView(values.data(), DType::kF32, Shape{count}));
  return values;
}

void LoraTensor::done_reading() const {
  file_.done_reading(entry_);
}

LoraDelta low_rank_delta(const LoraProduct& product, float factor) {
  LoraDelta delta;
  add_tensors(product, delta.tensors);
  delta.open = [product, factor](LoraRowRange rows) {
    return std::make_unique<ProductRows>(product, rows, factor);
  };
  if (!product.core) delta.pair = LoraPair{product.up, product.down, factor};
  return delta;
}

LoraDelta hadamard_delta(const LoraProduct& first, const LoraProduct& second, float factor) {
  LoraDelta delta;
  for (const LoraProduct* product : {&first, &second}) add_tensors(*product, delta.tensors);
  delta.open = [first, second, factor](LoraRowRange rows) {
    return std::make_unique<HadamardRows>(ProductRows(first, rows, 1), ProductRows(second, rows, 1), factor);
  };
  return delta;
}

LoraDelta kronecker_delta(const LoraFactor& a, const LoraFactor& b, float factor) {
  LoraDelta delta;
  for (const LoraFactor* part : {&a, &b}) {
    if (const LoraTensor* const whole = std::get_if<LoraTensor>(part)) {
      delta.tensors.push_back(*whole);
    } else {
      const auto& product = std::get<LoraProduct>(*part);
      add_tensors(product, delta.tensors);
      delta.made += product.rows() * product.columns();
    }
  }
  delta.open = [a, b, factor](LoraRowRange) {
    return std::make_unique<KroneckerRows>(read_factor(a), read_factor(b), factor);
  };
  return delta;
}

LoraDelta whole_delta(LoraTensor difference, float factor) {
  const auto open = [difference, factor](LoraRowRange rows) {
    return std::make_unique<WholeRows>(read_rows(difference, rows), factor);
  };
  return {.open = open, .tensors = {difference}};
}

std::shared_ptr<const WeightChange> lora_change(const TensorEntry& weight, std::vector<LoraStep> steps) {
  return std::make_shared<LoraChange>(weight, std::move(steps));
}

}  // namespace wan
