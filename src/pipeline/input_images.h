#pragma once
// What a video is made from beside its settings, and what the tasks that take images share.

#include <functional>
#include <optional>
#include <vector>

#include "media/image.h"
#include "models/video_vae.h"
#include "settings/run_context.h"

namespace wan {

/// Upright RGB images of any size.
struct InputImages {
  std::optional<Image> first;  // of the video
  std::optional<Image> last;
};

struct RunInputs {
  InputImages images = {};
  /// Samples of the sound at kSpeechRate, of a task that takes one. The first rank's alone.
  std::vector<float> speech = {};
};

/// Pixels [height, width, 3] f32 in [-1, 1] on the host.
Tensor frame_of(const Image& image);

/// Dumps a frame [height, width, 3] f32 of the host as [3, height, width].
void dump_frame(const RunContext& run, const char* name, const Tensor& frame);

/// Who has the frames of a clip that is encoded.
enum class FramesOf { kEveryRank, kFirstRank };

/// Encodes a clip into `latents` [z, F, h, w] on the device, as the phase "image". `fill` writes the clip's frame
/// `index` [H, W, 3] f32 on the host; where only the first rank has them the others get them from it.
using FillFrame = std::function<void(std::int64_t index, std::span<float> pixels)>;
void encode_clip(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const FillFrame& fill,
                 const TensorView& latents, FramesOf frames_of = FramesOf::kEveryRank);

}  // namespace wan
