#pragma once
// A video of one segment, from noise to the finished file: what text-to-video and image-to-video have in common.

#include "pipeline/segment.h"

namespace wan {

struct VideoOutput {
  std::filesystem::path save_file;
  LatentsFile latents;
};

/// Makes the video of run.settings. `resumed`: an earlier run's latents, to go on from, or nullptr. On Cancelled and on
/// failures after the first step, what was reached is kept in output.latents, and the message says how to go on.
void make_single_segment_video(const RunContext& run, const PipelineModels& models,
                               const VaePlan& decode_plan, const SegmentInput& input,
                               const VideoOutput& output, const SavedLatents* resumed);

}  // namespace wan
