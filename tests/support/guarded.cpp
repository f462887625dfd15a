#include "support/guarded.h"

#include <algorithm>
#include <random>

#include "ops/dispatch.h"

namespace wan::test {

namespace {

constexpr std::int64_t kMargin = 64;  // elements before and after: more than the widest vector
constexpr std::int64_t kGap = 3;
constexpr auto kSentinel = std::byte{0xc5};

/// visit(line) for lines along the last dimension, row-major; a contiguous view is one.
template <typename Visit>
void for_each_line(const TensorView& view, const Visit& visit) {
  if (view.is_contiguous()) return visit(view.reshape({view.elements()}));
  if (view.rank() == 1) return visit(view);
  for (std::int64_t i = 0; i < view.dim(0); ++i) for_each_line(view.select(0, i), visit);
}

}  // namespace

Guarded::Guarded(DType dtype, const Shape& shape, Layout layout) {
  const auto size = static_cast<std::int64_t>(dtype_size(dtype));
  std::vector<std::int64_t> strides(static_cast<std::size_t>(shape.rank()));
  std::int64_t extent = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<std::size_t>(axis)] = extent;
    extent *= shape[axis];
    const bool padded =
        axis > 0 && (layout == Layout::kPaddedInner || (layout == Layout::kPaddedRows && axis == 1));
    if (padded) extent += kGap;
  }
  bytes_.assign(static_cast<std::size_t>((extent + 2 * kMargin) * size), kSentinel);
  inside_.assign(bytes_.size(), false);
  view_ = TensorView(bytes_.data() + kMargin * size, dtype, shape, Shape(strides), Device{});
  for_each_line(view_, [&](const TensorView& line) {  // whose elements lie side by side
    std::fill_n(inside_.begin() + (line.data() - bytes_.data()), line.dim(0) * size, true);
  });
}

::testing::AssertionResult Guarded::intact() const {
  for (std::size_t i = 0; i < bytes_.size(); ++i)
    if (!inside_[i] && bytes_[i] != kSentinel)
      return ::testing::AssertionFailure() << "byte " << i << " of " << bytes_.size() << " outside the view "
                                           << view_.shape().to_string() << " was written";
  return ::testing::AssertionSuccess();
}

void fill_random(const TensorView& view, std::uint32_t seed, double scale, double offset) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;  // half the draws of double's
  for_each_line(view, [&](const TensorView& line) {
    for (std::int64_t i = 0; i < line.dim(0); ++i) store_element(line, {i}, scale * normal(engine) + offset);
  });
}

Guarded random_tensor(DType dtype, const Shape& shape, std::uint32_t seed, Layout layout, double scale) {
  Guarded tensor(dtype, shape, layout);
  fill_random(tensor, seed, scale);
  return tensor;
}

Tensor to_f64(const TensorView& view) {
  Tensor copy(DType::kF64, view.shape());
  std::ranges::copy(load_elements(view), copy.as<double>());
  return copy;
}

}  // namespace wan::test
