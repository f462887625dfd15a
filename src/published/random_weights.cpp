#include "published/random_weights.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "ops/copy.h"

namespace wan {

namespace {

constexpr std::int64_t kTable = std::int64_t{1} << 22;
constexpr std::size_t kDrawn = kTable / 16;
constexpr std::int64_t kAlignment = 8;  // elements: device copies take 16 bytes at a time
constexpr float kDeviation = 0.02f;
constexpr std::int64_t kSeed = 42;

/// Scales of norms: "gamma" of the VAEs, and "weight" of one dimension elsewhere.
bool is_norm_scale(const std::string& name, const Shape& shape) {
  return name.ends_with("gamma") || (name.ends_with("weight") && shape.rank() == 1);
}

}  // namespace

Checkpoint empty_checkpoint() {
  return Checkpoint::from_files({}, "no file");
}

void draw_normals(RandomGenerator& generator, std::span<float> values) {
  const std::span<float> drawn = values.first(std::min(kDrawn, values.size()));
  generator.normal(drawn);
  for (std::size_t begin = drawn.size(); begin < values.size(); begin += drawn.size())
    std::ranges::copy(drawn.first(std::min(drawn.size(), values.size() - begin)),
                      values.subspan(begin).begin());
}

RandomWeights::RandomWeights(Backend& backend)
    : backend_(backend), table_(DType::kF32, {2, kTable}), workspace_(backend.allocator()) {
  const std::span<float> weights(table_.as<float>(), kTable);
  const std::span<float> scales(table_.as<float>() + kTable, kTable);
  draw_normals(*make_random_generator({}, kSeed), weights);
  for (float& value : weights) value *= kDeviation;
  std::transform(weights.begin(), weights.end(), scales.begin(), [](float value) { return 1.0f + value; });
  if (backend.device().kind == DeviceKind::kCpu) return;
  device_table_ = Tensor(backend.allocator(), DType::kF32, table_.shape());
  backend.upload(table_, device_table_);
}

TensorEntry RandomWeights::entry(const std::string& name, const Shape& shape) const {
  const std::int64_t rows = shape[0];
  const std::int64_t row = shape.elements() / rows;
  const std::int64_t first =
      static_cast<std::int64_t>(std::hash<std::string>()(name) % (kTable / 4)) / kAlignment * kAlignment;
  const std::int64_t room = kTable - first - row;
  WAN_CHECK(room >= rows, kUnsupported, "[random weights] {} {} is larger than the table", name,
            shape.to_string());
  std::int64_t step = room / rows;
  if (step >= kAlignment) step = step / kAlignment * kAlignment;
  const Shape row_major = contiguous_strides(shape);
  std::vector<std::int64_t> strides(row_major.extents().begin(), row_major.extents().end());
  if (shape.rank() > 1) strides[0] = step;
  const std::int64_t half = is_norm_scale(name, shape) ? kTable : 0;
  const auto* const begin = reinterpret_cast<const std::byte*>(table_.as<float>() + half + first);
  const std::int64_t length = (rows - 1) * strides[0] + row;
  return {.name = name,
          .dtype = DType::kF32,
          .shape = shape,
          .strides = Shape(strides),
          .storage = {begin, static_cast<std::size_t>(length) * sizeof(float)},
          .file = "random"};
}

Checkpoint RandomWeights::checkpoint(const WeightReport& asked, const std::string& name) const {
  CheckpointFile file;
  for (const auto& [weight, shape] : asked.missing()) file.tensors.push_back(entry(weight, shape));
  return Checkpoint::from_files({std::move(file)}, name);
}

WeightTarget RandomWeights::target(DType compute) {
  WeightTarget target{.allocator = &backend_.allocator(), .compute_dtype = compute};
  if (backend_.device().kind == DeviceKind::kCpu) return target;
  target.upload = [this](const UploadSource& source, const TensorView& device) {
    backend_.upload_from(source, device);
  };
  target.fill = [this](const TensorView& source, const TensorView& destination) {
    ExecContext ctx{.backend = backend_, .workspace = workspace_, .communicator = communicator_};
    const std::ptrdiff_t offset = source.data() - table_.view().data();
    const TensorView there(device_table_.view().data() + offset, source.dtype(), source.shape(),
                           source.strides(), backend_.device());
    copy(ctx, {.from = there, .out = destination});
  };
  return target;
}

}  // namespace wan
