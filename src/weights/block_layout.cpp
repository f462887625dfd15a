#include "weights/block_layout.h"

#include <algorithm>

#include "base/checked_math.h"
#include "weights/packed_source.h"

namespace wan {

namespace {

constexpr std::size_t kAlignment = 64;  // what Allocator promises for the whole

// Calls visit(number, shape, dtype, offset) for each of a block's weights and of their additions' factors (WeightRun::weight);
// returns their size.
template <typename Visit>
std::size_t place_weights(const BlockLayout& layout, DType compute_dtype, int index, Visit visit) {
  std::size_t offset = 0;
  const auto place = [&](std::size_t number, const Shape& shape, DType dtype) {
    visit(number, shape, dtype, offset);
    const std::size_t bytes = dtype_bytes(dtype, shape.elements());
    offset = checked_add(offset, checked_add(bytes, kAlignment - 1, "block_bytes") / kAlignment * kAlignment,
                         "block_bytes");
  };
  const std::size_t own = layout.weights.size(), count = layout.count(index);
  const auto shape_of = [&](std::size_t i) -> const Shape& {
    return i < own ? layout.weights[i].shape : layout.extra_weights[i - own].shape;
  };
  for (std::size_t i = 0; i < count; ++i) place(i, shape_of(i), layout.dtype(index, i, compute_dtype));
  for (std::size_t i = 0; i < count && layout.has_additions(index); ++i) {
    const std::int64_t rank = layout.packed[static_cast<std::size_t>(index)][i].rank;
    for (int factor = 0; factor < 2 && rank > 0; ++factor)
      place(count + 2 * i + static_cast<std::size_t>(factor), {shape_of(i)[factor], rank}, DType::kF32);
  }
  return offset;
}

// "blocks.7." from "blocks.{i}.".
std::string numbered(const std::string& name, std::int64_t index) {
  const std::size_t mark = name.find("{i}");
  WAN_CHECK(mark != std::string::npos, kInternal, "[block layout] no {{i}} in {}", name);
  return name.substr(0, mark) + std::to_string(index) + name.substr(mark + 3);
}

void ignore(std::size_t, const Shape&, DType, std::size_t) {}

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
  return weights.size() + (extra ? extra_weights.size() : 0);
}

DType BlockLayout::dtype(int index, std::size_t weight, DType compute_dtype) const {
  if (!packed.empty())
    if (const std::optional<DType> held = packed[static_cast<std::size_t>(index)][weight].dtype) return *held;
  const std::size_t own = weights.size();
  const WeightSpec& spec = weight < own ? weights[weight] : extra_weights[weight - own];
  return resolve_dtype(spec.dtype, compute_dtype);
}

bool BlockLayout::has_additions(int index) const {
  return !packed.empty() && std::ranges::any_of(packed[static_cast<std::size_t>(index)],
                                                [](const PackedWeight& weight) { return weight.rank > 0; });
}

BlockLayout with_packed(BlockLayout layout, const WeightScope& scope, int count) {
  bool any = false;
  PackedWeights packed;
  for (int block = 0; block < count; ++block) {
    auto& held = packed.emplace_back();
    for (const WeightSpec& spec : layout.block_weights(block)) {
      const TensorEntry* entry = scope.report().checkpoint().find(scope.full_name(spec.name));
      PackedWeight& weight = held.emplace_back();
      if (entry == nullptr || spec.dtype != WeightDType::kCompute || entry->shape != spec.shape) continue;
      weight.dtype = packed_dtype_of(*entry);
      if (!weight.dtype) continue;
      any = true;
      if (entry->change != nullptr) weight.rank = entry->change->factors()->rank();
    }
  }
  if (any) layout.packed = std::move(packed);
  return layout;
}

PackedWeights without_additions(PackedWeights packed) {
  for (auto& block : packed)
    for (PackedWeight& weight : block) weight.rank = 0;
  return packed;
}

std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype, int index) {
  return place_weights(layout, compute_dtype, index, ignore);
}

std::size_t block_bytes(const BlockLayout& layout, DType compute_dtype) {
  std::size_t most = 0;
  const auto look = [&](int index) { most = std::max(most, block_bytes(layout, compute_dtype, index)); };
  for (int index = 0; index < std::max(1, static_cast<int>(layout.packed.size())); ++index) look(index);
  for (const int index : layout.extra_blocks) look(index);
  return most;
}

std::vector<TensorView> block_views(const BlockLayout& layout, DType compute_dtype, int index,
                                    std::byte* memory, Device device) {
  std::vector<TensorView> views;
  const std::size_t count = layout.count(index);
  const auto add = [&](std::size_t number, const Shape& shape, DType dtype, std::size_t offset) {
    if (number < count) views.emplace_back(memory + offset, dtype, shape, device);
  };
  place_weights(layout, compute_dtype, index, add);
  return views;
}

std::vector<LowRankViews> block_additions(const BlockLayout& layout, DType compute_dtype, int index,
                                          std::byte* memory, Device device) {
  if (!layout.has_additions(index)) return {};
  const std::size_t count = layout.count(index);
  std::vector<LowRankViews> additions(count);
  const auto add = [&](std::size_t number, const Shape& shape, DType dtype, std::size_t offset) {
    if (number < count) return;
    LowRankViews& of = additions[(number - count) / 2];
    ((number - count) % 2 == 0 ? of.up : of.down) = TensorView(memory + offset, dtype, shape, device);
  };
  place_weights(layout, compute_dtype, index, add);
  return additions;
}

WeightRun whole_run(std::size_t weight, const TensorView& view) {
  if (!is_packed(view.dtype())) return {weight, 0, view};
  const Shape bytes{static_cast<std::int64_t>(view.bytes())};
  return {weight, 0, TensorView(view.data(), DType::kU8, bytes, view.device()), view.dtype()};
}

std::vector<WeightRun> weight_runs(const BlockLayout& layout, DType compute_dtype, int index, Range run,
                                   std::byte* memory, Device device) {
  std::vector<WeightRun> runs;
  const auto visit = [&](std::size_t weight, const Shape& shape, DType dtype, std::size_t offset) {
    const auto at = static_cast<std::int64_t>(offset);
    const std::int64_t begin = std::max(run.begin, at);
    const std::int64_t end =
        std::min(run.end, at + static_cast<std::int64_t>(dtype_bytes(dtype, shape.elements())));
    if (begin >= end) return;
    std::byte* const to = memory + (begin - run.begin);
    if (is_packed(dtype)) {
      runs.push_back({weight, begin - at, TensorView(to, DType::kU8, {end - begin}, device), dtype});
    } else {
      const auto size = static_cast<std::int64_t>(dtype_size(dtype));
      const std::int64_t count = (end - begin) / size;
      const Shape part = count == shape.elements() ? shape : Shape{count};
      runs.push_back({weight, (begin - at) / size, TensorView(to, dtype, part, device)});
    }
  };
  place_weights(layout, compute_dtype, index, visit);
  return runs;
}

}  // namespace wan
