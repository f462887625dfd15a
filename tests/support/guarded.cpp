#include "support/guarded.h"

#include <functional>
#include <random>

#include "ops/dispatch.h"

namespace wan::test {

namespace {

constexpr std::int64_t kMargin = 64;  // elements before and after: more than the widest vector
constexpr std::int64_t kGap = 3;
constexpr auto kSentinel = std::byte{0xc5};

/// visit(byte offset of an element in the view), row-major.
void for_each_offset(const TensorView& view, const std::function<void(std::int64_t)>& visit) {
  const auto size = static_cast<std::int64_t>(dtype_size(view.dtype()));
  const std::function<void(int, std::int64_t)> walk = [&](int axis, std::int64_t offset) {
    if (axis == view.rank()) return visit(offset * size);
    for (std::int64_t i = 0; i < view.dim(axis); ++i) walk(axis + 1, offset + i * view.stride(axis));
  };
  walk(0, 0);
}

TensorView flat_element(const TensorView& view, std::int64_t byte_offset) {
  return {view.data() + byte_offset, view.dtype(), {1}, view.device()};
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
  for_each_offset(view_, [&](std::int64_t offset) {
    for (std::int64_t b = 0; b < size; ++b)
      inside_[static_cast<std::size_t>(kMargin * size + offset + b)] = true;
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
  std::normal_distribution<double> normal;
  for_each_offset(view, [&](std::int64_t at) {
    store_element(flat_element(view, at), {0}, normal(engine) * scale + offset);
  });
}

Guarded random_tensor(DType dtype, const Shape& shape, std::uint32_t seed, Layout layout, double scale) {
  Guarded tensor(dtype, shape, layout);
  fill_random(tensor, seed, scale);
  return tensor;
}

Tensor to_f64(const TensorView& view) {
  Tensor copy(DType::kF64, view.shape());
  std::int64_t i = 0;
  for_each_offset(
      view, [&](std::int64_t at) { copy.as<double>()[i++] = load_element(flat_element(view, at), {0}); });
  return copy;
}

}  // namespace wan::test
