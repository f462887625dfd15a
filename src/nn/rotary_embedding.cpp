#include "nn/rotary_embedding.h"

#include <cmath>

namespace wan {

void fill_rope_table(std::span<const TokenPosition> positions, std::int64_t head_dim,
                     const TensorView& table) {
  const std::int64_t half = head_dim / 2;
  WAN_CHECK(
      table.shape() == (Shape{static_cast<std::int64_t>(positions.size()), half, 2}) && table.is_contiguous(),
      kInternal, "[fill_rope_table] table is {}", table.shape().to_string());
  const std::int64_t spatial = half / 3;
  const std::array<std::int64_t, 3> pairs = {half - 2 * spatial, spatial, spatial};
  std::vector<double> frequencies;
  for (const std::int64_t count : pairs)
    for (std::int64_t i = 0; i < count; ++i)
      frequencies.push_back(std::pow(10000.0, -static_cast<double>(2 * i) / static_cast<double>(2 * count)));
  auto* out = table.as<float>();
  for (const TokenPosition& position : positions) {
    std::size_t pair = 0;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      for (std::int64_t i = 0; i < pairs[axis]; ++i, ++pair) {
        const double angle = static_cast<double>(position[axis]) * frequencies[pair];
        *out++ = static_cast<float>(std::cos(angle));
        *out++ = static_cast<float>(std::sin(angle));
      }
    }
  }
}

}  // namespace wan
