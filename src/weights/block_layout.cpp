#include "weights/block_layout.h"

#include <algorithm>

#include "base/checked_math.h"

namespace wan {

namespace {

constexpr std::size_t kAlignment = 64;  // what Allocator promises for the whole

// Calls visit(shape, dtype, offset) for each of a block's first `count` weights; returns their size.
template <typename Visit>
std::size_t place_weights(const BlockLayout& layout, DType compute_dtype, std::size_t count, Visit visit) {
  std::size_t offset = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t own = layout.weights.size();
    const WeightSpec& spec = i < own ? layout.weights[i] : layout.extra_weights[i - own];
    const DType dtype = resolve_dtype(spec.dtype, compute_dtype);
    visit(spec.shape, dtype, offset);
    const std::size_t bytes =
        checked_mul(static_cast<std::size_t>(spec.shape.elements()), dtype_size(dtype), "block_bytes");
    offset = checked_add(offset, checked_add(bytes, kAlignment - 1, "block_bytes") / kAlignment * kAlignment,
                         "block_bytes");
  }
  return offset;
}

// "blocks.7." from "blocks.{i}.".
std::string numbered(const std::string& name, std::int64_t index) {
  const std::size_t mark = name.find("{i}");
  WAN_CHECK(mark != std::string::npos, kInternal, "[block layout] no {{i}} in {}", name);
  return name.substr(0, mark) + std::to_string(index) + name.substr(mark + 3);
}

std::size_t most_weights(const BlockLayout& layout) {
  return layout.weights.size() + (layout.extra_blocks.empty() ? 0 : layout.extra_weights.size());
}

void ignore(const Shape&, DType, std::size_t) {}

}  // namespace

std::vector<WeightSpec> BlockLayout::block_weights(int index) const {
  std::vector<WeightSpec> specs = weights;
  for (WeightSpec& spec : specs) spec.name = numbered(prefix, index) + spec.name;
  const auto extra = std::ranges::find(extra_blocks, index);
  if (extra == extra_blocks.end()) return specs;
  for (WeightSpec spec : extra_weights) {
    spec.name = numbered(spec.name, extra - extra_blocks.begin());
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::size_t BlockLayout::count(int index) const {
  const bool extra = std::ranges::find(extra_blocks, index) != extra_blocks.end();
  return extra ? most_weights(*this) : weights.size();
}

std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype, int index) {
  return place_weights(layout, compute_dtype, layout.count(index), ignore);
}

std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype) {
  return place_weights(layout, compute_dtype, most_weights(layout), ignore);
}

std::vector<TensorView> block_views(const BlockLayout& layout, DType compute_dtype, std::byte* memory,
                                    Device device) {
  std::vector<TensorView> views;
  place_weights(layout, compute_dtype, most_weights(layout),
                [&](const Shape& shape, DType dtype, std::size_t offset) {
                  views.emplace_back(memory + offset, dtype, shape, device);
                });
  return views;
}

std::vector<WeightRun> weight_runs(const BlockLayout& layout, DType compute_dtype, int index, Range run,
                                   std::byte* memory, Device device) {
  std::vector<WeightRun> runs;
  std::size_t weight = 0;
  const auto visit = [&](const Shape& shape, DType dtype, std::size_t offset) {
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
  };
  place_weights(layout, compute_dtype, layout.count(index), visit);
  return runs;
}

}  // namespace wan
