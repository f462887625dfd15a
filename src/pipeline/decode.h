#pragma once
// Latents to frames to the output, group by group: the encoder works while the VAE decodes the next group.

#include <optional>

#include "media/frame_sink.h"
#include "models/video_vae.h"
#include "settings/run_context.h"

namespace wan {

/// Where decoded frames go.
struct FramesTo {
  std::int64_t skip = 0;                  // of the first ones, which nobody gets
  std::int64_t first_shown = 1;           // how often the first of the others is written
  std::int64_t written = 0;               // frames that are in the output already
  std::optional<std::int64_t> most = {};  // frames of the others that are written; unset: all
  TensorView carried = {};  // [n, H, W, 3] f32 on the host: the last n, clamped to [-1, 1]; empty for none
  bool dumps_all = false;   // those that are skipped too, clamped
};

/// Decodes latents [z, F, h, w] f32 into `output`, which stays open: later segments go on with it. Returns how many frames were written.
/// Every rank takes part; the output is rank 0's, the others have none. Throws Internal where the VAE gives values that are not finite, and what the output throws.
std::int64_t decode_into(const RunContext& run, const VideoVae& vae, const VaePlan& plan,
                         const TensorView& latents, const FramesTo& to, FrameSink* output);

}  // namespace wan
