#include "weights/block_layout.h"

#include <algorithm>

#include "base/checked_math.h"

namespace wan {

namespace {

constexpr std::size_t kAlignment = 64;  // what Allocator promises for the whole

// Calls visit(shape, dtype, offset) for each weight; returns the block's size.
template <typename Visit>
std::size_t place_weights(const BlockLayout& layout, DType compute_dtype, Visit visit) {
  std::size_t offset = 0;
  for (const WeightSpec& spec : layout.weights) {
    const DType dtype = resolve_dtype(spec.dtype, compute_dtype);
    visit(spec.shape, dtype, offset);
    const std::size_t bytes =
        checked_mul(static_cast<std::size_t>(spec.shape.elements()), dtype_size(dtype), "block_bytes");
    offset = checked_add(offset, checked_add(bytes, kAlignment - 1, "block_bytes") / kAlignment * kAlignment,
                         "block_bytes");
  }
  return offset;
}

}  // namespace

std::string BlockLayout::block_prefix(int index) const {
  const std::size_t mark = prefix.find("{i}");
  WAN_CHECK(mark != std::string::npos, kInternal, "[block layout] no {{i}} in the prefix {}", prefix);
  return prefix.substr(0, mark) + std::to_string(index) + prefix.substr(mark + 3);
}

std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype) {
  return place_weights(layout, compute_dtype, [](const Shape&, DType, std::size_t) {});
}

std::vector<TensorView> block_views(const BlockLayout& layout, DType compute_dtype, std::byte* memory,
                                    Device device) {
  std::vector<TensorView> views;
  place_weights(layout, compute_dtype, [&](const Shape& shape, DType dtype, std::size_t offset) {
    views.emplace_back(memory + offset, dtype, shape, device);
  });
  return views;
}

std::vector<WeightRun> weight_runs(const BlockLayout& layout, DType compute_dtype, Range run,
                                   std::byte* memory, Device device) {
  std::vector<WeightRun> runs;
  std::size_t weight = 0;
  place_weights(layout, compute_dtype, [&](const Shape& shape, DType dtype, std::size_t offset) {
    const auto at = static_cast<std::int64_t>(offset);
    const auto size = static_cast<std::int64_t>(dtype_size(dtype));
    const std::int64_t begin = std::max(run.begin, at);
    const std::int64_t end = std::min(run.end, at + shape.elements() * size);
    const std::int64_t count = (end - begin) / size;
    if (begin < end)
      runs.push_back({weight, (begin - at) / size,
                      TensorView(memory + (begin - run.begin), dtype,
                                 count == shape.elements() ? shape : Shape{count}, device)});
    ++weight;
  });
  return runs;
}

}  // namespace wan
