#include "support/compare.h"

#include <cmath>
#include <limits>

namespace wan::test {

namespace {

/// Row-major walk over two views of one shape; visit(row-major index, a, b).
template <typename Visit>
void walk(const TensorView& a, const TensorView& b, std::int64_t& index, Visit&& visit) {
  if (a.rank() != 1 && a.is_contiguous() && b.is_contiguous())
    return walk(a.reshape({a.elements()}), b.reshape({b.elements()}), index, visit);
  for (std::int64_t i = 0; i < a.dim(0); ++i) {
    if (a.rank() == 1)
      visit(index++, load_element(a, {i}), load_element(b, {i}));
    else
      walk(a.select(0, i), b.select(0, i), index, visit);
  }
}

Difference not_comparable(std::string why) {
  Difference result;
  result.comparable = false;
  result.why_not = std::move(why);
  return result;
}

}  // namespace

Difference difference(const TensorView& actual, const TensorView& expected) {
  if (actual.empty() || expected.empty()) return not_comparable("a tensor is missing");
  if (!(actual.shape() == expected.shape()))
    return not_comparable(
        fmt::format("shape {} instead of {}", actual.shape().to_string(), expected.shape().to_string()));
  Difference result;
  double squared_error = 0.0;
  double squared_norm = 0.0;
  std::int64_t index = 0;
  walk(actual, expected, index, [&](std::int64_t i, double a, double b) {
    if (!std::isfinite(a) || !std::isfinite(b)) {
      if (result.comparable) result.why_not = fmt::format("{} against {} at element {}", a, b, i);
      result.comparable = false;
      return;
    }
    const double error = std::fabs(a - b);
    squared_error += error * error;
    squared_norm += b * b;
    if (error > result.max_abs || result.worst < 0) {
      result.max_abs = error;
      result.worst = i;
    }
  });
  if (squared_error > 0.0)
    result.relative_rms = squared_norm > 0.0 ? std::sqrt(squared_error / squared_norm)
                                             : std::numeric_limits<double>::infinity();
  return result;
}

::testing::AssertionResult all_close(const TensorView& actual, const TensorView& expected,
                                     double relative_rms, double max_abs) {
  const Difference d = difference(actual, expected);
  if (!d.comparable) return ::testing::AssertionFailure() << d.why_not;
  if (d.relative_rms <= relative_rms && d.max_abs <= max_abs) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << fmt::format(
             "relative RMS {:.3g} (at most {:.3g}), largest difference {:.3g} (at most {:.3g}) at element {} "
             "of {}",
             d.relative_rms, relative_rms, d.max_abs, max_abs, d.worst, expected.shape().to_string());
}

}  // namespace wan::test
