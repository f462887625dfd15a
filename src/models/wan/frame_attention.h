#pragma once
// Attention of a video's frames to what each has of its own: its sound, its face.

#include <algorithm>

#include "nn/token_layout.h"
#include "ops/exec_context.h"

namespace wan {

/// Tokens of the video that a rank has of a sequence in which they come first.
Range local_video_rows(const TokenLayout& layout);

/// visit(frame, first, last) for each latent frame of `frame_tokens` tokens that `rows` of the sequence hold any of; first and last are
/// of the rank's own rows.
template <typename Visit>
void for_each_frame(Range rows, std::int64_t frame_tokens, Visit visit) {
  for (std::int64_t frame = rows.begin / frame_tokens; frame * frame_tokens < rows.end; ++frame)
    visit(frame, std::max(frame * frame_tokens, rows.begin) - rows.begin,
          std::min((frame + 1) * frame_tokens, rows.end) - rows.begin);
}

struct FrameAttention {
  Range rows;                 // of the sequence, that `query` and `out` hold
  std::int64_t frame_tokens;  // of a latent frame
  std::int64_t keys;          // of a latent frame
  TensorView key, value;      // [frames keys, heads, head_dim]
  TensorView query;           // [rows, dim], contiguous
  TensorView out;             // [rows, dim], contiguous
};
/// Each token attends to its own frame's keys.
void attend_by_frame(ExecContext& ctx, const FrameAttention& attention);

}  // namespace wan
