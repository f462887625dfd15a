#include "models/wan/frame_attention.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"

namespace wan {

Range local_video_rows(const TokenLayout& layout) {
  const Range local = layout.local();
  return {local.begin, std::min(local.end, layout.segments().front().tokens)};
}

void attend_by_frame(ExecContext& ctx, const FrameAttention& frames) {
  const std::int64_t num_heads = frames.key.dim(1), head_dim = frames.key.dim(2);
  const auto heads = [&](const TensorView& x, std::int64_t first, std::int64_t last) {
    return x.slice(0, first, last).reshape({last - first, num_heads, head_dim});
  };
  for_each_frame(
      frames.rows, frames.frame_tokens, [&](std::int64_t frame, std::int64_t first, std::int64_t last) {
        const std::int64_t begin = frame * frames.keys, end = begin + frames.keys;
        attention(ctx, {.q = heads(frames.query, first, last),
                        .k = frames.key.slice(0, begin, end),
                        .v = frames.value.slice(0, begin, end),
                        .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))),
                        .bias = {},
                        .key_bias = {},
                        .out = heads(frames.out, first, last)});
      });
}

}  // namespace wan
