#include "models/wan/animate/orthonormal.h"

#include <cmath>
#include <vector>

namespace wan {

namespace {

/// H = I - tau v v^T, of rows `first` and on; v[first] is 1.
struct Reflection {
  std::size_t first;
  double tau;
  std::vector<double> v;

  void apply(std::vector<double>& column) const {
    double product = 0;
    for (std::size_t i = first; i < v.size(); ++i) product += v[i] * column[i];
    for (std::size_t i = first; i < v.size(); ++i) column[i] -= tau * product * v[i];
  }
};

/// The one that leaves of the column's values from `first` on the first alone.
Reflection reflection_of(const std::vector<double>& column, std::size_t first) {
  double below = 0;
  for (std::size_t i = first + 1; i < column.size(); ++i) below += column[i] * column[i];
  Reflection reflection{.first = first, .tau = 0, .v = std::vector<double>(column.size(), 0.0)};
  reflection.v[first] = 1;
  if (below == 0) return reflection;  // none is needed, whatever the value's sign
  const double value = column[first];
  const double remains = -std::copysign(std::sqrt(value * value + below), value);
  reflection.tau = (remains - value) / remains;
  for (std::size_t i = first + 1; i < column.size(); ++i) reflection.v[i] = column[i] / (value - remains);
  return reflection;
}

}  // namespace

void orthonormalize(const TensorView& matrix, const TensorView& q) {
  const auto rows = static_cast<std::size_t>(matrix.dim(0));
  const auto columns = static_cast<std::size_t>(matrix.dim(1));
  WAN_CHECK(columns >= 1 && rows >= columns, kInternal, "[orthonormalize] {}", matrix.shape().to_string());
  std::vector<Reflection> reflections;
  for (std::size_t k = 0; k < columns; ++k) {
    std::vector<double> column(rows);
    for (std::size_t i = 0; i < rows; ++i)
      column[i] = static_cast<double>(matrix.as<float>()[i * columns + k]);
    for (const Reflection& earlier : reflections) earlier.apply(column);
    reflections.push_back(reflection_of(column, k));
  }
  for (std::size_t k = 0; k < columns; ++k) {
    std::vector<double> column(rows, 0.0);
    column[k] = 1;
    for (std::size_t i = columns; i-- > 0;) reflections[i].apply(column);
    for (std::size_t i = 0; i < rows; ++i) q.as<float>()[i * columns + k] = static_cast<float>(column[i]);
  }
}

}  // namespace wan
